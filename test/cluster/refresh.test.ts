/**
 * Refreshes, stops and undeployments on a cloud of real processes, while pages are asked for through HAProxy without a
 * pause: not one of them fails. The component says in which process it runs, answers slowly now and then, so that calls
 * are under way whenever a process ends, and does not load while a file is there.
 */
import { existsSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { InstanceView } from '../../src/hypervisor/views.js'
import { runRain, startCloud, type TestCloud } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'
import { aPackage } from '../support/packages.js'
import { type Rest, restOf } from '../support/rest.js'

const instances = 6

let cloud: TestCloud
let rest: Rest
/** While it is there, no process of the component loads. */
let obstacle: string
let pages: Pages
beforeAll(async () => {
  cloud = await startCloud({ args: ['--etcd', '1', '--replicas', '2', '--motherships', '3', '--rain-servers', '2'] })
  rest = restOf(cloud.state().api, cloud.state().tokens.operator)
  obstacle = join(cloud.dataDir, 'obstacle')
  // A machine that is busy with starting processes makes pages slow: what counts here is that none is lost.
  const admin = restOf(cloud.state().api, cloud.state().tokens.admin)
  expect((await admin('PUT', '/settings', { fragmentDeadlineMs: 20_000, pageDeadlineMs: 30_000 })).status).toBe(200)
  await deployed('1.0', instances)
}, 120_000)
afterAll(async () => {
  await cloud.close()
})
beforeEach(async () => {
  pages = new Pages(`${cloud.state().pages}/pulse/index`)
  await pages.more()
})
afterEach(async () => {
  await pages.stop()
  rmSync(obstacle, { force: true })
})

async function deployed(version: string, count: number): Promise<void> {
  const meta = { id: 'pulse', version, views: { index: {} }, placement: { copies: 1 } }
  const data = `const { existsSync } = require('node:fs')
if (existsSync(${JSON.stringify(obstacle)})) throw new Error('something is in the way')
let calls = 0
exports.index = (_environment, callback) => {
  const made = { pid: process.pid, version: '${version}' }
  setTimeout(() => callback(null, made), calls++ % 5 === 0 ? 150 : 0)
}
`
  const files = {
    'meta.json': JSON.stringify(meta),
    'client/templates/index.html': '<p>pulse {{version}} of {{pid}}, whole</p>',
    'server/data.js': data,
  }
  expect((await rest('POST', '/webcomponent/', await aPackage(files))).status).toBe(201)
  const need = { cpu: 1, ram: 16, bandwidth: 1 }
  const started = await rest('POST', `/webcomponent/pulse/${version}?count=${count}&wait=wired&timeout=60s`, { need })
  expect([started.status, started.text.match(/"phase":"running","copies"/g)?.length]).toEqual([201, count])
}

/** Asks for a page again and again, as several browsers that are new each time. */
class Pages {
  readonly failed: string[] = []
  whole = 0
  /** Of the last while. */
  #seen: string[] = []
  /** A page that is under way as somebody looks may come from a process that only ends what it has begun. */
  #looks = 0
  #going = true
  readonly #loops: readonly Promise<void>[]

  constructor(private readonly url: string) {
    this.#loops = Array.from({ length: 4 }, () => this.#ask())
  }

  /** What the next pages say that are asked for from now on: version and process, each once. */
  async more(count = 60): Promise<Set<string>> {
    this.#seen = []
    this.#looks++
    await waitUntil(`${count} more pages`, () => this.#seen.length >= count, 30_000)
    return new Set(this.#seen)
  }

  async stop(): Promise<void> {
    this.#going = false
    await Promise.all(this.#loops)
    expect(this.failed).toEqual([])
    expect(this.whole).toBeGreaterThan(50)
  }

  async #ask(): Promise<void> {
    while (this.#going) {
      const look = this.#looks
      try {
        const answer = await fetch(this.url, { headers: { accept: 'text/html' }, signal: AbortSignal.timeout(40_000) })
        const text = await answer.text()
        const [, version, pid] = /pulse (\S+) of (\d+), whole/.exec(text) ?? []
        if (answer.status === 200 && pid !== undefined && !text.includes('data-rain-status')) {
          this.whole++
          if (look === this.#looks) this.#seen.push(`${version} ${pid}`)
        } else this.failed.push(`${answer.status} ${text.slice(0, 500)}`)
      } catch (error) {
        this.failed.push(String(error))
      }
    }
  }
}

async function rain(...args: readonly string[]): Promise<{ code: number; said: string }> {
  const run = runRain([...args, '--data-dir', cloud.dataDir])
  return { code: await run.ended, said: run.said() }
}

async function ids(version = '1.0.0'): Promise<string[]> {
  const found = new Set<string>()
  for (const { id } of cloud.state().motherships) {
    const { body } = await rest('GET', `/mothership/${id}/webcomponents?range=1000`)
    for (const each of body['items'] as unknown as InstanceView[]) {
      if (each.component === 'pulse' && `${each.version}.0`.startsWith(version)) found.add(each.id)
    }
  }
  return [...found].sort()
}

const none = (a: ReadonlySet<string>, b: ReadonlySet<string>): boolean => [...a].every(each => !b.has(each))

describe('a rolling refresh', () => {
  it('runs every instance in a new process, and no page fails', async () => {
    const before = await pages.more()
    const { code, said } = await rain('refresh', '--all-of', 'pulse@1.0', '--max-unavailable', '34%', '--wait')
    expect([code, said]).toEqual([0, expect.stringMatching(/0 of 6 run anew[\s\S]*6 of 6 run anew \(done\)\n$/)])
    expect(none(await pages.more(), before)).toBe(true)
    expect((await rain('rollouts')).said).toMatch(/pulse\/1\.0 +done +6\/6/)
  }, 90_000)

  it('of one instance leaves the others alone', async () => {
    const before = await pages.more()
    const [id = ''] = await ids()
    expect((await rain('refresh', id, '--wait')).said).toMatch(/running, refresh 2\n$/)
    const after = await pages.more(120)
    expect([...after].filter(each => !before.has(each))).toHaveLength(1)
  }, 90_000)

  it('is carried on when the leader is killed', async () => {
    const before = await pages.more()
    const started = await rest('POST', '/rollouts/', { component: 'pulse', version: '1.0', maxUnavailable: 1 })
    const id = String(started.body['id'])
    const shown = async () => {
      const answers = cloud
        .state()
        .replicas.map(({ url }) => restOf(url, cloud.state().tokens.viewer)('GET', `/rollouts/${id}`))
      const [answer] = (await Promise.allSettled(answers)).flatMap(each =>
        each.status === 'fulfilled' ? [each.value.body] : [],
      )
      return answer as unknown as { done: number; phase: string } | undefined
    }
    await waitUntil('some are done', async () => ((await shown())?.done ?? 0) > 0, 30_000)
    const { body } = await rest('GET', '/replicas')
    const leader = (body['items'] as unknown as { id: string; leader: boolean }[]).find(each => each.leader)!.id
    process.kill(cloud.state().replicas.find(each => each.id === leader)!.pid, 'SIGKILL')
    await waitUntil('it is done', async () => (await shown())?.phase === 'done', 60_000)
    expect(none(await pages.more(), before)).toBe(true)
    await waitUntil(
      'all replicas are back',
      async () => {
        const asked = cloud.state().replicas.map(each => fetch(`${each.url}/readyz`))
        const answers = await Promise.allSettled([...asked, fetch(`${cloud.state().api}/readyz`)])
        return answers.every(each => each.status === 'fulfilled' && each.value.status === 200)
      },
      30_000,
    )
  }, 120_000)

  it('pauses with the reason when a new process fails its self-test: the old ones serve, and it is resumed', async () => {
    const before = await pages.more()
    writeFileSync(obstacle, '')
    const paused = await rain('refresh', '--all-of', 'pulse@1.0', '--wait')
    expect([paused.code, paused.said]).toEqual([
      1,
      expect.stringMatching(
        /0 of 6 run anew, 1 under way \(paused: pulse\.\S+ on m\d: the self-test failed: .*in the way/,
      ),
    ])
    expect(before).toEqual(await pages.more(120))
    const [, id = ''] = /`rain rollouts (\S+) --resume` goes on/.exec(paused.said) ?? []
    expect((await rain('refresh', '--all-of', 'pulse@1.0')).said).toContain('resume or abort it first')

    rmSync(obstacle)
    const resumed = await rain('rollouts', id, '--resume', '--wait')
    expect([resumed.code, resumed.said]).toEqual([0, expect.stringMatching(/6 of 6 run anew \(done\)\n$/)])
    expect(none(await pages.more(), before)).toBe(true)
  }, 120_000)

  it('goes back by itself, or by hand, and the processes of before go on', async () => {
    const before = await pages.more()
    writeFileSync(obstacle, '')
    const returned = await rain('refresh', '--all-of', 'pulse@1.0', '--on-failure', 'return', '--wait')
    expect([returned.code, returned.said]).toEqual([
      1,
      expect.stringMatching(/0 of 6 run anew \(returned: .*in the way/),
    ])
    const paused = await rain('refresh', '--all-of', 'pulse@1.0', '--wait')
    const [, id = ''] = /`rain rollouts (\S+) --resume` goes on/.exec(paused.said) ?? []
    expect((await rain('rollouts', id, '--abort')).said).toContain('(aborted: ')
    rmSync(obstacle)
    await waitUntil('what was tried is forgotten', async () => {
      const views = await Promise.all((await ids()).map(each => rest('GET', `/webcomponent/${each}`)))
      return views.every(
        ({ body }) => body['phase'] === ('running' as unknown) && body['copies']?.[0]?.['reason'] === undefined,
      )
    })
    expect(before).toEqual(await pages.more(120))
  }, 120_000)
})

describe('what is stopped', () => {
  it('takes no page with it: an instance', async () => {
    const [id = '', ...others] = await ids()
    const stopped = await rest('DELETE', `/webcomponent/${id}`)
    const after = `?minRevision=${stopped.headers.get('x-rain-revision')}`
    expect([stopped.status, (await rest('GET', `/webcomponent/${id}${after}`)).status]).toEqual([202, 404])
    await waitUntil('both replicas show it', async () => (await ids()).join() === others.join())
    await pages.more()
  }, 60_000)

  it('takes no page with it: a version, from which pages turn to the one before', async () => {
    await deployed('1.1', 3)
    await waitUntil('pages are of the new version', async () =>
      [...(await pages.more(20))].every(each => each.startsWith('1.1')),
    )
    const { code, said } = await rain('undeploy', 'pulse@1.1', '--wait')
    expect([code, said]).toEqual([0, expect.stringMatching(/^pulse\/1\.1 goes: 3 instances stop\n[\s\S]*gone\n$/)])
    expect([...(await pages.more())].every(each => each.startsWith('1.0'))).toBe(true)
    expect((await rest('GET', '/webcomponent/pulse/1.1')).status).toBe(404)
    expect(existsSync(obstacle)).toBe(false)
  }, 90_000)
})
