/** The questions to Prometheus against a server that answers whatever a test wants; with a real one in prometheus-placement. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { Resources } from '../../src/cloud/resources.js'
import { defaultSettings } from '../../src/cloud/settings.js'
import type { Clock } from '../../src/hypervisor/ports.js'
import { systemClock } from '../../src/main/world.js'
import { vectorOf } from '../../src/metrics/prometheus-answer.js'
import { PrometheusLoads, type PrometheusState } from '../../src/metrics/prometheus-loads.js'
import { waitUntil } from '../support/etcd.js'
import { TestLog } from '../support/logs.js'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean()
})

type Reply = { readonly status?: number; readonly text: string; readonly location?: string } | 'never'

async function aServer(reply: (expression: string, authorization?: string) => Reply): Promise<string> {
  const server: Server = createServer((request, response) => {
    let body = ''
    request.on('data', part => {
      body += String(part)
    })
    request.on('end', () => {
      const answer = reply(new URLSearchParams(body).get('query') ?? '', request.headers.authorization)
      if (answer === 'never') return
      if (answer.location !== undefined) response.setHeader('location', answer.location)
      response.statusCode = request.url === '/prefix/api/v1/query' ? (answer.status ?? 200) : 404
      response.end(answer.text)
    })
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => {
    server.closeAllConnections()
    return new Promise(resolve => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/prefix`
}

type Row = readonly [id: string, value: string]
const vector = (...rows: readonly Row[]): Reply => ({
  text: JSON.stringify({
    status: 'success',
    data: { resultType: 'vector', result: rows.map(([id, value]) => ({ metric: { id }, value: [1_000, value] })) },
  }),
})

interface Told {
  readonly mothership: string
  readonly load: Resources
  readonly ageMs: number
}

interface Asking {
  readonly timeoutMs?: number
  readonly everyMs?: number
  readonly token?: string
  readonly motherships?: readonly string[]
  readonly clock?: Clock
}

function asking(url: string, more: Asking = {}) {
  const told: Told[] = []
  const states: PrometheusState[] = []
  const log = new TestLog()
  const { token, motherships = ['m1', 'm2'], clock = systemClock, ...times } = more
  let settings = { ...defaultSettings.prometheus, cpu: 'c', ram: 'r', bandwidth: 'b', at: 'at', everyMs: 500, ...times }
  const loads = new PrometheusLoads({
    url,
    ...(token === undefined ? {} : { token }),
    clock,
    log,
    settings: () => settings,
    staleMs: () => 15_000,
    motherships: () => motherships,
    note: (mothership, load, ageMs) => told.push({ mothership, load, ageMs }),
    forget: () => told.splice(0),
    onRound: state => states.push(state),
  })
  cleanups.push(() => loads.close())
  loads.start()
  const change = (part: Partial<typeof settings>): void => {
    settings = { ...settings, ...part }
    loads.reconsider()
  }
  return { loads, told, states, log, change, round: () => waitUntil('a round is over', () => states.length > 0) }
}

/** Stands still, except for what is to happen after some time. */
const standing = (nowMs: () => number = () => 0): Clock => ({ ...systemClock, nowMs })

const good: Readonly<Record<string, Reply>> = {
  c: vector(['m1', '100'], ['m2', '200'], ['x1', '5']),
  r: vector(['m1', '10'], ['m2', '20'], ['x1', '5']),
  b: vector(['m1', '1'], ['m2', '2'], ['x1', '5']),
  at: vector(['m1', '999.5'], ['m2', '998'], ['x1', '5']),
}

describe('asking Prometheus for load', () => {
  it('tells the load of each mothership, as old as its scrape', async () => {
    let authorization: string | undefined
    const url = await aServer((expression, sent) => {
      authorization = sent
      return good[expression]!
    })
    const { loads, told, round } = asking(url, { token: 'secret', clock: standing() })
    await round()
    expect(loads.state).toEqual({ kind: 'good', motherships: 2 })
    expect(told).toEqual([
      { mothership: 'm1', load: { cpu: 100, ram: 10, bandwidth: 1 }, ageMs: 500 },
      { mothership: 'm2', load: { cpu: 200, ram: 20, bandwidth: 2 }, ageMs: 2_000 },
    ])
    expect(authorization).toBe('Bearer secret')
  })

  it('tells nothing of a mothership of which one resource is not known', async () => {
    const url = await aServer(name => (name === 'r' ? vector(['m1', 'NaN'], ['m2', '20']) : good[name]!))
    const { loads, told, round } = asking(url)
    await round()
    expect(told.map(each => each.mothership)).toEqual(['m2'])
    const message = 'm1: the answer to "r" is NaN'
    expect(loads.state).toEqual({ kind: 'partial', motherships: 1, message, lacking: { amount: 1 } })
  })

  it('says of which motherships nothing is told and why, of the first ones at least, and tells the others', async () => {
    const url = await aServer(name => {
      if (name === 'at') return vector(['m1', '999'], ['m2', '999'], ['m3', '950'], ['m4', '999'], ['m5', '999'])
      if (name === 'b') return vector(['m1', '1'], ['m2', '-2'], ['m3', '1'], ['m4', '1'], ['m4', '1'], ['m5', '1e'])
      return vector(...['m1', 'm2', 'm3', 'm4', 'm5'].map(id => [id, '1'] as const))
    })
    const { loads, told, log, round } = asking(url, { motherships: ['m1', 'm2', 'm3', 'm4', 'm5', 'm6'] })
    await round()
    expect(told.map(each => each.mothership)).toEqual(['m1'])
    expect(loads.state).toEqual({
      kind: 'partial',
      motherships: 1,
      message: expect.stringMatching(
        /^m2: the answer to "b" is -2; m3: scraped 50 s ago, which is too old; m4: .* names it twice: .*; and 2 more$/,
      ),
      lacking: { amount: 2, old: 1, twice: 1, unnamed: 1 },
    })
    expect(log.said).toContain('Prometheus does not tell the load of some motherships: reports stand in')
  })

  it('has nothing to lack where there are no motherships', async () => {
    const { loads, round } = asking(await aServer(() => vector()), { motherships: [] })
    await round()
    expect(loads.state).toEqual({ kind: 'good', motherships: 0 })
  })

  it('counts the time that an answer took as age', async () => {
    let nowMs = 0
    const url = await aServer(name => {
      nowMs = 700
      return good[name]!
    })
    const { told, round } = asking(url, { clock: standing(() => nowMs) })
    await round()
    expect(told.map(each => each.ageMs)).toEqual([1_200, 2_700])
  })

  it('asks by other expressions as soon as they are set, and forgets what the ones before told', async () => {
    const url = await aServer(name => (name === 'other' ? vector(['m1', '7'], ['m2', '8']) : good[name]!))
    const { told, change, round } = asking(url, { everyMs: 60_000 })
    await round()
    change({ cpu: 'other' })
    await waitUntil('it has asked again', () => told.some(each => each.load.cpu === 7))
    expect(told.map(each => each.load.cpu)).toEqual([7, 8])
  })

  it('does not wait for an answer to what is not asked any more, nor counts that it did not come', async () => {
    const url = await aServer(name => (name === 'c' ? 'never' : name === 'other' ? good['c']! : good[name]!))
    const { states, change } = asking(url, { everyMs: 60_000, timeoutMs: 60_000 })
    change({ cpu: 'other' })
    await waitUntil('it is answered', () => states.length > 0)
    expect(states.map(each => each.kind)).toEqual(['good'])
  })

  it.each<[string, (name: string) => Reply, string, string]>([
    ['an error of the server', () => ({ status: 500, text: 'oops' }), 'down', 'it answers 500'],
    ['no leave to ask', () => ({ status: 401, text: '' }), 'down', 'it answers 401'],
    ['no answer in time', () => 'never', 'slow', 'no answer within 200 ms'],
    [
      'one answer that does not come',
      name => (name === 'b' ? 'never' : good[name]!),
      'slow',
      'no answer within 200 ms',
    ],
    ['an error of what stands before it', () => ({ status: 503, text: '<html>' }), 'down', 'it answers 503'],
    ['a query that was given up', () => ({ status: 503, text: '{"error":"timed out"}' }), 'down', '503: timed out'],
    [
      'another place',
      () => ({ status: 302, text: '', location: 'http://x/login' }),
      'wrong',
      '302 and sends elsewhere',
    ],
    ['more than can be read', () => ({ text: ' '.repeat(9 * 1024 * 1024) }), 'wrong', 'is longer than'],
    ['null', () => ({ text: 'null' }), 'wrong', 'is not one of Prometheus'],
    [
      'samples that are none',
      () => ({ text: '{"status":"success","data":{"resultType":"vector","result":[null,1,{},{"metric":null}]}}' }),
      'empty',
      'has it nowhere in the label id',
    ],
    ['no JSON', () => ({ text: '<html>' }), 'wrong', 'is not one of Prometheus'],
    ['JSON of something else', () => ({ text: '{"status":"success"}' }), 'wrong', 'is no instant vector but undefined'],
    [
      'a matrix',
      () => ({ text: '{"status":"success","data":{"resultType":"matrix","result":[]}}' }),
      'wrong',
      'matrix',
    ],
    [
      'an expression that it refuses',
      () => ({ status: 400, text: '{"status":"error","error":"parse error at 3"}' }),
      'wrong',
      'parse error at 3',
    ],
    ['a mothership twice', () => vector(['m1', '1'], ['m1', '2']), 'wrong', 'names it twice: aggregate it by id'],
    ['nobody', () => vector(), 'empty', 'm1: the answer to prometheus.cpu has it nowhere in the label id'],
    ['strangers only', () => vector(['x1', '1']), 'empty', 'has it nowhere in the label id'],
  ])('%s is a state that is counted and shown', async (_what, reply, kind, message) => {
    // Long enough for 9 MiB on a busy machine, where an answer comes.
    const timeoutMs = kind === 'slow' ? 200 : 20_000
    const { loads, told, states, round } = asking(await aServer(reply), { timeoutMs })
    await round()
    expect(loads.state).toMatchObject({ kind, message: expect.stringContaining(message) })
    expect(told).toEqual([])
    expect(states[0]!.kind).toBe(kind)
  })

  it('goes on asking, says what changed once, and recovers', async () => {
    let bad = true
    const url = await aServer(name => (bad ? { status: 500, text: '' } : good[name]!))
    const { loads, states, log } = asking(url)
    await waitUntil('it failed twice', () => states.length >= 2)
    bad = false
    await waitUntil('it is good again', () => loads.state.kind === 'good')
    expect(log.said.filter(each => each.startsWith('Prometheus'))).toHaveLength(2)
  })

  it('calls a server that is not there down', async () => {
    const { loads, round } = asking('http://127.0.0.1:1')
    await round()
    expect(loads.state).toMatchObject({ kind: 'down' })
  })

  it('leaves out what is no amount, and what is told twice', () => {
    const rows = ['-1', '+Inf', 'NaN', '', 'x', '7', '0'].map((value, index) => [`m${index}`, value] as const)
    const { text } = vector(...rows, ['m7', '1'], ['m7', '1'], ['m7', '1']) as { text: string }
    const { values, odd } = vectorOf(text, 'x', 'id')
    expect([...values]).toEqual([
      ['m5', 7],
      ['m6', 0],
    ])
    expect([...odd].map(([id, { why }]) => `${id} ${why}`)).toEqual([
      ...['m0', 'm1', 'm2', 'm3', 'm4'].map(id => `${id} amount`),
      'm7 twice',
    ])
  })
})
