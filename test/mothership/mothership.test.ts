import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { systemChance } from '../../src/main/world.js'
import { type Mothership, startMothership } from '../../src/mothership/mothership.js'
import type { WantedInstance } from '../../src/protocol/messages.js'
import { builtWorker } from '../support/build.js'
import { waitUntil } from '../support/etcd.js'
import { FakeReplica } from '../support/fake-replica.js'
import { TestLog } from '../support/logs.js'
import { aPackage } from '../support/packages.js'
import { testClock } from '../support/plain-store.js'
import { RenderLink } from '../support/render-link.js'
import { aKey, type TestKey } from '../support/tickets.js'

let dataDir: string
let replica: FakeReplica
let key: TestKey
let motherships: Mothership[]
let links: RenderLink[]

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'rain-mothership-'))
  replica = await FakeReplica.start()
  key = aKey()
  motherships = []
  links = []
})
afterEach(async () => {
  for (const link of links) link.close()
  await Promise.all(motherships.map(each => each.stop()))
  await replica.close()
  rmSync(dataDir, { recursive: true, force: true })
})

async function started(id = 'm1', hypervisors: readonly string[] = [replica.url]): Promise<Mothership> {
  const mothership = await startMothership(
    {
      id,
      host: '127.0.0.1',
      port: 0,
      metricsPort: 1,
      logLevel: 'silent',
      hypervisors,
      token: 'token-of-m1',
      address: 'ws://127.0.0.1:1',
      labels: { disk: 'ssd' },
      dataDir,
      capacity: { cpu: 1000, ram: 1024, bandwidth: 1000 },
      measure: 'processes',
    },
    { log: new TestLog(), clock: testClock, chance: systemChance, workerPath: builtWorker, software: '0.1.0' },
  )
  motherships.push(mothership)
  return mothership
}

async function linked({ port }: Mothership, ticket = key.ticket('m1')): Promise<RenderLink> {
  const link = await RenderLink.open(port, `Bearer ${ticket}`)
  if (typeof link === 'number') throw new Error(`the link was refused: ${link}`)
  links.push(link)
  return link
}

const keysOf = (...keys: TestKey[]): object => ({ keys: keys.map(({ id, publicKey }) => ({ id, publicKey })) })

const wanted = (digest: string, more: Partial<WantedInstance> = {}): WantedInstance => ({
  component: 'news',
  version: '1.0.0',
  digest,
  size: 1,
  role: 'primary',
  epoch: 1,
  generation: 0,
  isolation: 'shared',
  need: { cpu: 50, ram: 32, bandwidth: 100 },
  ...more,
})

const news = (files: Readonly<Record<string, string>> = {}): Promise<Buffer> =>
  aPackage({
    'meta.json': JSON.stringify({ id: 'news', version: '1.0', views: { index: {} } }),
    'client/templates/index.html': '{{pid}}',
    'client/css/page.css': 'body {}',
    'server/data.js': 'exports.index = (environment, callback) => callback(null, { pid: process.pid })',
    ...files,
  })

const isRunning = (instance: string, generation = 0): Promise<void> =>
  waitUntil(`${instance} runs`, () => {
    const last = replica.last(instance)
    return last?.phase === 'running' && last.generation === generation
  })

const pidOf = async (link: RenderLink, instance: string): Promise<number> => {
  const answer = await link.render(instance)
  if (answer.t !== 'fragment') throw new Error(`no fragment of ${instance}: ${JSON.stringify(answer)}`)
  return Number(answer.html)
}

describe('a mothership', () => {
  it('registers, fetches what is wanted, runs it and renders it', async () => {
    const digest = replica.has(await news({ 'client/templates/index.html': 'for {{who}}', 'server/data.js': '' }))
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest, { epoch: 7 }) })
    const mothership = await started()
    await isRunning('news.1')

    expect(replica.hellos[0]).toMatchObject({
      kind: 'mothership',
      id: 'm1',
      o: [0, 0],
      address: 'ws://127.0.0.1:1',
      capacity: { cpu: 1000, ram: 1024, bandwidth: 1000 },
      labels: { disk: 'ssd' },
      software: '0.1.0',
      runs: [],
    })
    expect([...replica.credentials]).toEqual(['Bearer token-of-m1'])
    expect(replica.observed).toEqual([
      { instance: 'news.1', epoch: 7, generation: 0, phase: 'starting' },
      { instance: 'news.1', epoch: 7, generation: 0, phase: 'running' },
    ])
    expect(replica.applied).toEqual([{ t: 'applied', o: [1, 1] }])
    expect(await (await linked(mothership)).render('news.1', 'index', { context: { who: 'you' } })).toEqual({
      t: 'fragment',
      r: 1,
      instance: 'news.1',
      mothership: 'm1',
      html: 'for you',
      css: ['/news/1.0/css/page.css'],
      js: [],
      // There is nobody to inherit it.
      context: {},
      children: [],
    })
  })

  it('answers for many instances over one link at once', async () => {
    const digest = replica.has(
      await news({
        'meta.json': JSON.stringify({ id: 'news', version: '1.0', views: { index: {}, slow: {} } }),
        'client/templates/slow.html': 'slow',
        'server/data.js': `
          let release
          exports.slow = (environment, callback) => { release = () => callback(null, {}) }
          exports.index = (environment, callback) => { callback(null, {}); release() }
        `,
        'client/templates/index.html': 'quick',
      }),
    )
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest), 'instances/news.2': wanted(digest) })
    const mothership = await started()
    await isRunning('news.1')
    await isRunning('news.2')
    const link = await linked(mothership)
    // The first is answered only because the second was asked meanwhile.
    const [slow, quick] = await Promise.all([link.render('news.1', 'slow'), link.render('news.2')])

    expect([slow, quick]).toMatchObject([
      { t: 'fragment', html: 'slow', instance: 'news.1' },
      { t: 'fragment', html: 'quick', instance: 'news.2' },
    ])
  })

  it('runs instances of a version in one process, and exclusive ones in their own', async () => {
    const digest = replica.has(await news())
    replica.want({
      keys: keysOf(key),
      'instances/news.1': wanted(digest),
      'instances/news.2': wanted(digest),
      'instances/news.3': wanted(digest, { isolation: 'exclusive' }),
      'instances/news.4': wanted(digest, { isolation: 'exclusive' }),
    })
    const mothership = await started()
    for (const n of [1, 2, 3, 4]) await isRunning(`news.${n}`)
    const link = await linked(mothership)
    const pids = await Promise.all([1, 2, 3, 4].map(n => pidOf(link, `news.${n}`)))

    expect(pids[0]).toBe(pids[1])
    expect(new Set(pids).size).toBe(3)
    expect(replica.fetched).toEqual([digest])
  })

  it('leaves one exclusive instance alone when the process of another dies', async () => {
    const digest = replica.has(await news())
    const exclusive = wanted(digest, { isolation: 'exclusive' })
    replica.want({ keys: keysOf(key), 'instances/news.1': exclusive, 'instances/news.2': exclusive })
    const mothership = await started()
    await isRunning('news.1')
    await isRunning('news.2')
    const link = await linked(mothership)
    const pids = [await pidOf(link, 'news.1'), await pidOf(link, 'news.2')]
    process.kill(pids[0]!, 'SIGKILL')
    await waitUntil('it runs again', () => replica.phases('news.1').length === 4)

    expect(replica.phases('news.2')).toEqual(['starting', 'running'])
    expect(await pidOf(link, 'news.2')).toBe(pids[1])
    expect(pids).not.toContain(await pidOf(link, 'news.1'))
  })

  it('tells that a killed process starts and runs again', async () => {
    const digest = replica.has(await news())
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest) })
    const mothership = await started()
    await isRunning('news.1')
    const link = await linked(mothership)
    const pid = await pidOf(link, 'news.1')
    process.kill(pid, 'SIGKILL')
    await waitUntil('it runs again', () => replica.phases('news.1').length === 4)

    expect(replica.phases('news.1')).toEqual(['starting', 'running', 'starting', 'running'])
    expect(await pidOf(link, 'news.1')).not.toBe(pid)
    await waitUntil('the restart is reported', () =>
      replica.loads.some(each => each.components?.['news/1.0.0']?.restarts === 1),
    )
  })

  it('tells why a package does not run, and runs the others', async () => {
    const good = replica.has(await news())
    const throws = replica.has(
      await news({
        'meta.json': JSON.stringify({ id: 'bad', version: '1.0', views: { index: {} } }),
        'server/data.js': "throw new Error('no such driver')",
      }),
    )
    const nowhere = `sha256:${'0'.repeat(64)}`
    replica.want({
      keys: keysOf(key),
      'instances/bad.1': wanted(throws, { component: 'bad' }),
      'instances/lost.1': wanted(nowhere, { component: 'lost' }),
      'instances/news.1': wanted(good),
    })
    const mothership = await started()
    await isRunning('news.1')
    await waitUntil('both have failed', () => ['bad.1', 'lost.1'].every(id => replica.last(id)?.phase === 'failed'))

    expect(replica.last('bad.1')?.reason).toContain('no such driver')
    expect(replica.last('lost.1')?.reason).toContain('answered 404')
    const link = await linked(mothership)
    expect(await link.render('bad.1')).toMatchObject({ t: 'failed', status: 503 })
    expect(await link.render('lost.1')).toMatchObject({ t: 'failed', status: 503 })
    expect(await link.render('news.1')).toMatchObject({ t: 'fragment' })
  })

  it('tells what it cannot read of a wanted state, and applies the rest', async () => {
    const digest = replica.has(await news())
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest), 'instances/news.2': { role: 'king' }, x: 1 })
    await started()
    await isRunning('news.1')

    expect(replica.applied[0]?.refused?.map(each => each.key)).toEqual(['instances/news.2', 'x'])
  })

  it('lets the old generation serve until the new one runs, and ends it then', async () => {
    const digest = replica.has(await news())
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest) })
    const mothership = await started()
    await isRunning('news.1')
    const link = await linked(mothership)
    const old = await pidOf(link, 'news.1')
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest, { generation: 1 }) })
    const answers: string[] = []
    await waitUntil('the new generation runs', async () => {
      answers.push((await link.render('news.1')).t)
      return replica.last('news.1')?.generation === 1
    })

    expect(new Set(answers)).toEqual(new Set(['fragment']))
    expect(replica.phases('news.1')).toEqual(['starting', 'running', 'running'])
    expect(await pidOf(link, 'news.1')).not.toBe(old)
    await waitUntil('the old process is gone', () => !isAlive(old))
  })

  it('keeps the old generation when the new one cannot run, and says why', async () => {
    const digest = replica.has(await news())
    const broken = replica.has(await news({ 'server/data.js': "throw new Error('worse')" }))
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest) })
    const mothership = await started()
    await isRunning('news.1')
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(broken, { generation: 1 }) })
    await waitUntil('the reason is told', () => replica.last('news.1')?.reason !== undefined)

    expect(replica.last('news.1')).toMatchObject({
      phase: 'running',
      generation: 0,
      reason: expect.stringContaining('worse'),
    })
    expect(await (await linked(mothership)).render('news.1')).toMatchObject({ t: 'fragment' })
  })

  it('ends what is not wanted any more', async () => {
    const digest = replica.has(await news())
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest) })
    const mothership = await started()
    await isRunning('news.1')
    const link = await linked(mothership)
    const pid = await pidOf(link, 'news.1')
    replica.want({ keys: keysOf(key) })
    await waitUntil('the process is gone', () => !isAlive(pid))

    expect(await link.render('news.1')).toEqual({ t: 'failed', r: 2, status: 503, reason: 'no instance news.1 here' })
  })

  it('tries again what it could not fetch', async () => {
    const bytes = await news()
    const digest = replica.has(bytes)
    replica.packages.clear()
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest) })
    await started()
    await waitUntil('it has failed', () => replica.last('news.1')?.phase === 'failed')
    replica.has(bytes)
    await isRunning('news.1')

    expect(replica.phases('news.1')).toEqual(['starting', 'failed', 'starting', 'running'])
  })

  it('runs what it ran when it starts while no hypervisor is there', async () => {
    const digest = replica.has(await news())
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest) })
    const first = await started()
    await isRunning('news.1')
    await waitUntil('it is applied', () => replica.applied.length === 1)
    await first.stop()
    motherships = []
    const { url } = replica
    await replica.close()
    replica = await FakeReplica.start()
    const link = await linked(await started('m1', [url]))

    await waitUntil('it is rendered again', async () => (await link.render('news.1')).t === 'fragment')
  })

  it('refuses what is older than what it applied, in an earlier life too', async () => {
    const digest = replica.has(await news())
    replica.want({})
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest) })
    const first = await started()
    await isRunning('news.1')
    await waitUntil('it is applied', () => replica.applied.length > 0)
    await first.stop()
    motherships = []
    const stale = await FakeReplica.start()
    stale.want({ keys: keysOf(key) })
    await started('m1', [stale.url])
    await waitUntil('it is refused', () => stale.applied.length === 1)

    expect(stale.hellos[0]?.o).toEqual([1, 2])
    expect(stale.applied).toMatchObject([{ o: [1, 1], refused: [{ reason: 'older than 1.2, which is applied here' }] }])
    await waitUntil('it runs again', () => stale.last('news.1')?.phase === 'running')
    await stale.close()
  })
})

describe('a link to a mothership', () => {
  it('is opened by a ticket of the hypervisor for this very mothership, and by nothing else', async () => {
    replica.want({ keys: keysOf(key, aKey('k2')) })
    const { port } = await started()
    await waitUntil('the keys are there', () => replica.applied.length === 1)
    const hour = 3_600_000
    const good = key.ticket('m1')
    const [id, claims, signature] = good.split('.')
    const forged = Buffer.from(JSON.stringify({ toWhom: 'mothership/m1', expires: 1e15, notBefore: 0 }))
    const refused = {
      'no ticket': undefined,
      'an empty one': 'Bearer ',
      'what is none': 'Bearer a.b.c',
      'another scheme': `Basic ${good}`,
      'one for another mothership': `Bearer ${key.ticket('m2')}`,
      'an expired one': `Bearer ${key.ticket('m1', { expires: Date.now() - hour })}`,
      'one of tomorrow': `Bearer ${key.ticket('m1', { notBefore: Date.now() + hour })}`,
      'one of another cloud': `Bearer ${aKey('k1').ticket('m1')}`,
      'one of an unknown key': `Bearer ${aKey('k9').ticket('m1')}`,
      'one signed by the key of another id': `Bearer ${['k2', claims, signature].join('.')}`,
      'changed claims': `Bearer ${[id, forged.toString('base64url'), signature].join('.')}`,
      'no signature': `Bearer ${id}.${claims}.`,
    }

    for (const [name, authorization] of Object.entries(refused)) {
      expect([name, await RenderLink.open(port, authorization)]).toEqual([name, 401])
    }
    expect(await RenderLink.open(port, `Bearer ${good}`, '/other')).toBe(404)
    links.push((await RenderLink.open(port, `Bearer ${good}`)) as RenderLink)
    expect(links[0]).toBeInstanceOf(RenderLink)
  })

  it('is refused while the mothership has no keys', async () => {
    expect(await RenderLink.open((await started()).port, `Bearer ${key.ticket('m1')}`)).toBe(401)
  })

  it('is refused, and not the end of the mothership, when a key cannot be read', async () => {
    replica.want({ keys: { keys: [{ id: 'k1', publicKey: 'no key' }] } })
    const { port } = await started()
    await waitUntil('the keys are there', () => replica.applied.length === 1)

    expect(await RenderLink.open(port, `Bearer ${key.ticket('m1')}`)).toBe(401)
  })

  it('that was refused does not stay half open, nor keep the mothership from stopping', async () => {
    const mothership = await started()
    const socket = connect({ port: mothership.port, host: '127.0.0.1', allowHalfOpen: true })
    const upgrade = 'Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n'
    socket.write(`GET /render HTTP/1.1\r\nHost: m1\r\n${upgrade}Sec-WebSocket-Key: ${'A'.repeat(22)}==\r\n\r\n`)
    let said = ''
    socket.on('data', data => (said += String(data)))
    await once(socket, 'end')
    motherships = []
    await mothership.stop()
    socket.destroy()

    expect(said).toMatch(/^HTTP\/1\.1 401 /)
  })

  it('answers what is no request with an error, and closes when that goes on', async () => {
    replica.want({ keys: keysOf(key) })
    const mothership = await started()
    await waitUntil('the keys are there', () => replica.applied.length === 1)
    const link = await linked(mothership)
    link.send(Buffer.from([0x81, 0xa1, 0x74, 0xa4, 0x6e, 0x65, 0x78, 0x74]))
    link.send({ t: 'alive' })
    await waitUntil('both are answered', () => link.heard.length === 2)
    expect(link.heard).toEqual([
      { t: 'error', about: 'next', message: 'unknown type' },
      { t: 'error', about: 'alive', message: 'not for a mothership' },
    ])
    for (let i = 0; i < 10; i++) link.send(Buffer.from('no frame'))

    expect(await link.closed).toBe(1008)
  })

  it('is not answered on what was cancelled', async () => {
    const digest = replica.has(
      await news({
        'server/data.js': `
          const waiting = []
          exports.index = (environment, callback, { last }) => {
            waiting.push(() => callback(null, {}))
            if (last) for (const each of waiting) each()
          }
        `,
      }),
    )
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest) })
    const mothership = await started()
    await isRunning('news.1')
    const link = await linked(mothership)
    void link.render('news.1')
    void link.render('news.1')
    link.send({ t: 'cancel', r: 1 })
    await link.render('news.1', 'index', { context: { last: true } })

    expect(link.heard.map(each => ('r' in each ? each.r : each.t))).toEqual([2, 3])
  })

  it('carries files of packages', async () => {
    const digest = replica.has(await news())
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest) })
    const mothership = await started()
    await isRunning('news.1')
    const link = await linked(mothership)
    const sheet = await link.resource('news', 'css/page.css')
    if (sheet.t !== 'answer') throw new Error(JSON.stringify(sheet))
    const etag = sheet.headers['etag']!

    expect(Buffer.from(sheet.body as Uint8Array).toString()).toBe('body {}')
    const request = { url: '/', query: {}, headers: { 'if-none-match': etag } }
    expect(await link.resource('news', 'css/page.css', { request })).toMatchObject({ t: 'answer', status: 304 })
    expect(await link.resource('news', 'css/../../server/data.js')).toMatchObject({ status: 404 })
    expect(await link.resource('shop', 'css/page.css')).toMatchObject({ t: 'failed', status: 404 })
  })

  it('carries calls to controllers of the instance that is named', async () => {
    const digest = replica.has(
      await news({
        'server/controller/save.js': `exports.post = (request, response) => {
          response.writeHead(201, { 'content-type': 'text/plain', 'set-cookie': 'a=1' })
          response.end(request.session.id + ' ' + request.body.title)
        }`,
      }),
    )
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest) })
    const mothership = await started()
    await isRunning('news.1')
    const link = await linked(mothership)
    const post = (more: object): ReturnType<typeof link.resource> =>
      link.resource('news', 'save', {
        kind: 'controller',
        verb: 'POST',
        session: 's1',
        request: { url: '/news/controller/save', query: {}, headers: { 'content-type': 'application/json' } },
        body: Buffer.from('{"title":"Rain"}'),
        ...more,
      })
    const answer = await post({ instance: 'news.1' })
    if (answer.t !== 'answer') throw new Error(JSON.stringify(answer))

    expect(answer).toMatchObject({ status: 201, headers: { 'content-type': 'text/plain' }, cookies: ['a=1'] })
    expect(Buffer.from(answer.body as Uint8Array).toString()).toBe('s1 Rain')
    expect(await post({ instance: 'news.2' })).toMatchObject({ t: 'failed', status: 503 })
    expect(await post({})).toMatchObject({ t: 'failed', status: 503 })
    expect(await post({ instance: 'news.1', body: { title: 'Rain' } })).toMatchObject({ t: 'failed', status: 400 })
    expect(await post({ instance: 'news.1', path: 'load' })).toMatchObject({ t: 'failed', status: 404 })
    const told = await mothership.registry.metrics()
    expect(told).toContain('rain_mothership_render_seconds_count{component="news/1.0.0"} 2')
  })

  it('says that files are not there while their package could not be fetched', async () => {
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(`sha256:${'0'.repeat(64)}`) })
    const mothership = await started()
    await waitUntil('it has failed', () => replica.last('news.1')?.phase === 'failed')

    expect(await (await linked(mothership)).resource('news', 'css/page.css')).toMatchObject({
      t: 'failed',
      status: 503,
      reason: expect.stringContaining('could not be fetched'),
    })
  })

  it('fails a fragment that does not fit into a frame, and goes on', async () => {
    const digest = replica.has(
      await news({
        'client/templates/index.html': '{{{text}}}',
        'server/data.js':
          "exports.index = (environment, callback, { length }) => callback(null, { text: 'x'.repeat(length) })",
      }),
    )
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest) })
    const mothership = await started()
    await isRunning('news.1')
    const link = await linked(mothership)
    const ask = (length: number): ReturnType<RenderLink['render']> =>
      link.render('news.1', 'index', { context: { length } })

    expect(await ask(1_100_000)).toMatchObject({ t: 'failed', status: 500, reason: expect.stringContaining('frame') })
    expect(await ask(100)).toMatchObject({ t: 'fragment', html: 'x'.repeat(100) })
  })

  it('answers what is asked for together in as few frames as may be, once the rain server says that it takes those', async () => {
    const digest = replica.has(
      await news({
        'client/templates/index.html': '{{{text}}}',
        'server/data.js':
          "exports.index = (environment, callback, { length }) => callback(null, { text: 'x'.repeat(length) })",
      }),
    )
    replica.want({ keys: keysOf(key), 'instances/news.1': wanted(digest) })
    const mothership = await started()
    await isRunning('news.1')
    const link = await linked(mothership)
    await waitUntil('it says what it takes', () => link.takes?.renders === true)
    const lengths = (...all: readonly number[]): Promise<unknown[]> =>
      link.renders(all.map(length => ({ instance: 'news.1', view: 'index', context: { length } })))
    const several = (): number => link.heard.filter(each => each.t === 'several').length

    expect(await lengths(1, 2, 3)).toMatchObject([{ html: 'x' }, { html: 'xx' }, { html: 'xxx' }])
    expect(several()).toBe(0)
    link.send({ t: 'credit', bytes: 0, several: true })
    expect(await lengths(1, 2, 1_100_000, 3)).toMatchObject([
      { html: 'x' },
      { html: 'xx' },
      { t: 'failed', status: 500 },
      { html: 'xxx' },
    ])
    expect(several()).toBeGreaterThan(0)
    // More than a frame holds.
    const long = await lengths(...Array.from({ length: 8 }, () => 300_000))
    expect(long.map(each => (each as { html: string }).html.length)).toEqual(Array.from({ length: 8 }, () => 300_000))
  })
})

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0)
  } catch {
    return false
  }
}
