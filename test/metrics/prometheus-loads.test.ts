/** The questions to Prometheus against a server that answers whatever a test wants; with a real one in prometheus-real. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { Resources } from '../../src/cloud/resources.js'
import { defaultSettings } from '../../src/cloud/settings.js'
import { systemClock } from '../../src/main/world.js'
import { PrometheusLoads, vectorOf } from '../../src/metrics/prometheus-loads.js'
import { waitUntil } from '../support/etcd.js'
import { TestLog } from '../support/logs.js'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean()
})

type Reply = { readonly status?: number; readonly text: string } | 'never'

async function aServer(reply: (expression: string, authorization?: string) => Reply): Promise<string> {
  const server: Server = createServer((request, response) => {
    let body = ''
    request.on('data', part => {
      body += String(part)
    })
    request.on('end', () => {
      const answer = reply(new URLSearchParams(body).get('query') ?? '', request.headers.authorization)
      if (answer === 'never') return
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

function asking(url: string, more: { timeoutMs?: number; everyMs?: number; token?: string } = {}) {
  const told: Told[] = []
  const outcomes: string[] = []
  const log = new TestLog()
  const { token, ...times } = more
  const loads = new PrometheusLoads({
    url,
    ...(token === undefined ? {} : { token }),
    clock: systemClock,
    log,
    settings: () => ({
      ...defaultSettings.prometheus,
      cpu: 'c',
      ram: 'r',
      bandwidth: 'b',
      at: 'at',
      everyMs: 500,
      ...times,
    }),
    isMothership: id => id.startsWith('m'),
    note: (mothership, load, ageMs) => told.push({ mothership, load, ageMs }),
    onRound: outcome => outcomes.push(outcome),
  })
  cleanups.push(() => loads.close())
  loads.start()
  return { loads, told, outcomes, log, round: () => waitUntil('a round is over', () => outcomes.length > 0) }
}

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
    const { loads, told, round } = asking(url, { token: 'secret' })
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
    const { told, round } = asking(url)
    await round()
    expect(told.map(each => each.mothership)).toEqual(['m2'])
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
    ['a mothership twice', () => vector(['m1', '1'], ['m1', '2']), 'wrong', 'names m1 twice: aggregate it by id'],
    ['nobody', () => vector(), 'empty', 'no mothership is named by the label id'],
    ['strangers only', () => vector(['x1', '1']), 'empty', 'no mothership is named by the label id'],
  ])('%s is a state that is counted and shown', async (_what, reply, kind, message) => {
    const { loads, told, outcomes, round } = asking(await aServer(reply), { timeoutMs: 200 })
    await round()
    expect(loads.state).toEqual({ kind, message: expect.stringContaining(message) })
    expect(told).toEqual([])
    expect(outcomes[0]).toBe(kind)
  })

  it('goes on asking, says what changed once, and recovers', async () => {
    let bad = true
    const url = await aServer(name => (bad ? { status: 500, text: '' } : good[name]!))
    const { loads, outcomes, log } = asking(url)
    await waitUntil('it failed twice', () => outcomes.length >= 2)
    bad = false
    await waitUntil('it is good again', () => loads.state.kind === 'good')
    expect(log.said.filter(each => each.startsWith('Prometheus'))).toHaveLength(2)
  })

  it('calls a server that is not there down', async () => {
    const { loads, round } = asking('http://127.0.0.1:1')
    await round()
    expect(loads.state).toMatchObject({ kind: 'down' })
  })

  it('leaves negative values out', () => {
    const { text } = vector(['m1', '-1'], ['m2', '+Inf'], ['m3', '7']) as { text: string }
    expect([...vectorOf(text, 'x', 'id').values]).toEqual([['m3', 7]])
  })
})
