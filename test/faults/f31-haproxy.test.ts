/**
 * F31: HAProxy is killed, its master or its worker, while pages and REST are asked through it. The agent starts it again;
 * nodes never notice, and a node that has its session through HAProxy comes back by itself.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { Agent, request } from 'node:http'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { NodeSession } from '../../src/sdk/node-session.js'
import { startCloud, type TestCloud } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'
import { restOf } from '../support/rest.js'
import { titled, whyNoProgram } from './support/capabilities.js'
import { nowMs } from './support/clients.js'
import { ms, report } from './support/rows.js'

const reason = whyNoProgram('haproxy', 'prometheus')
const rounds = 3
const barMs = 5_000

let cloud: TestCloud
let token: string
beforeAll(async () => {
  if (reason !== undefined) return
  cloud = await startCloud()
  const { api, tokens } = cloud.state()
  const made = await restOf(api, tokens.admin)('POST', '/tokens', { role: 'node', subject: outside.id, node: outside })
  token = String(made.body['token'])
}, 180_000)
afterAll(async () => {
  await cloud?.close()
})

const log = { info: () => undefined, warn: () => undefined, error: () => undefined }

const outside = { kind: 'mothership', id: 'outside' } as const

/** A mothership that knows no replica but by HAProxy. It learns of the others, so that a round takes a new one. */
async function nodeThroughHaproxy(): Promise<NodeSession> {
  const session = new NodeSession({
    node: outside,
    hypervisors: [cloud.state().api],
    token,
    hello: () => ({ address: 'ws://127.0.0.1:9', capacity: { cpu: 1, ram: 1, bandwidth: 1 } }),
    onWanted: () => Promise.resolve([]),
    log,
  })
  session.start()
  await waitUntil('it has a session', () => session.status === 'live')
  return session
}

const master = (): number => Number(readFileSync(join(cloud.dataDir, 'balancer', 'haproxy.pid'), 'utf8'))
const childrenOf = (pid: number): number[] =>
  readdirSync('/proc').flatMap(name => {
    try {
      const [, parent] = /^\d+ \(.*\) \S (\d+)/s.exec(readFileSync(`/proc/${name}/stat`, 'utf8')) ?? []
      return Number(parent) === pid ? [Number(name)] : []
    } catch {
      return []
    }
  })

const good = async (url: string, headers: Record<string, string> = {}): Promise<boolean> => {
  const signal = AbortSignal.timeout(1_000)
  const answer = await fetch(url, { headers: { connection: 'close', ...headers }, signal }).catch(() => undefined)
  await answer?.arrayBuffer().catch(() => undefined)
  return answer?.status === 200
}

async function sessions(): Promise<string[]> {
  const { replicas, tokens } = cloud.state()
  const { body } = await restOf(replicas[0]!.url, tokens.viewer)('GET', '/map')
  const nodes = [...(body['rainServers'] as unknown as Node[]), ...(body['motherships'] as unknown as Node[])]
  return nodes
    .filter(each => each.id !== outside.id)
    .map(each => `${each.id} ${each.state}`)
    .sort()
}
interface Node {
  readonly id: string
  readonly state: string
}

describe(titled('F31, HAProxy dies', reason), () => {
  for (const which of ['master', 'worker'] as const) {
    it.skipIf(reason !== undefined)(`costs pages and REST less than 5 s, and no node its place: ${which}`, async () => {
      const { api, pages, tokens } = cloud.state()
      const whole = async (): Promise<boolean> =>
        (await good(`${pages}/shop/index`)) && (await good(`${api}/mothership/all`, { user: tokens.viewer }))
      const times: number[] = []
      const reconnects: number[] = []
      for (let round = 0; round < rounds; round++) {
        await waitUntil('all is well', whole)
        const through = await nodeThroughHaproxy()
        const before = await sessions()
        const pid = master()
        const fromMs = nowMs()
        process.kill(which === 'master' ? pid : childrenOf(pid)[0]!, 'SIGKILL')
        await waitUntil('its node notices', () => through.status !== 'live')
        await waitUntil('another one serves', async () => (await whole()) && master() !== pid, 20_000)
        times.push(nowMs() - fromMs)
        await waitUntil('its node is back', () => through.status === 'live')
        reconnects.push(nowMs() - fromMs)
        await waitUntil('every node is as it was', async () => (await sessions()).join() === before.join())
        await through.stop()
      }
      const [worst, last] = [Math.max(...times), Math.max(...reconnects)]
      const ok = worst <= barMs
      const figure = `pages and REST after ${ms(worst)} (worst), a node that comes through it after ${ms(last)}`
      report({ id: 'F31', fault: `HAProxy's ${which} killed`, figure, bar: `<= ${barMs} ms`, ok, n: rounds })
      expect.soft(ok).toBe(true)
    })
  }

  it.skipIf(reason !== undefined)(
    'goes on without its agent, and hands over to the next one: no request fails',
    async () => {
      const { pages, balancers } = cloud.state()
      const before = { agent: balancers[0]!.pid, haproxy: master() }
      const kept = new Agent({ keepAlive: true, maxSockets: 4 })
      const failures: string[] = []
      let [going, asked] = [true, 0]
      const loops = [kept, kept, kept, kept, false, false].map(async agent => {
        for (; going; asked++) {
          const status = await statusOf(`${pages}/footer/index`, agent as Agent | false)
          if (status !== 200) failures.push(String(status))
        }
      })
      await waitUntil('it is asked', () => asked > 50)
      process.kill(before.agent, 'SIGKILL')
      await waitUntil('another agent took over', async () => {
        const { pid = 0 } = cloud.state().balancers[0] ?? {}
        return pid > 0 && pid !== before.agent && master() !== before.haproxy && (await agentSays('rain_balancer_up 1'))
      })
      const after = asked
      await waitUntil('it is asked of the new one', () => asked > after + 100)
      going = false
      await Promise.all(loops)
      kept.destroy()
      const figure = `${failures.length} of ${asked} requests failed, over kept connections and new ones`
      const ok = failures.length === 0
      report({ id: 'F31', fault: 'balancer agent killed, HAProxy taken over', figure, bar: '0 failed', ok, n: asked })
      expect.soft(failures.slice(0, 5)).toEqual([])
    },
  )
})

async function agentSays(line: string): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${cloud.portBase + 5}/metrics`).catch(() => undefined)
  return (await answer?.text())?.includes(line) === true
}

/** What went wrong, where there was no answer. */
function statusOf(url: string, agent: Agent | false): Promise<number | string> {
  return new Promise(resolve => {
    const call = request(url, { agent, timeout: 10_000 }, answer => {
      answer.resume()
      answer.once('error', error => resolve(error.message))
      answer.once('end', () => resolve(answer.statusCode ?? 0))
    })
    call.once('timeout', () => call.destroy(new Error('no answer')))
    call.once('error', error => resolve(error.message))
    call.end()
  })
}
