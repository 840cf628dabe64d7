/** What the agent says of itself and of the servers, by the names that the cloud has for them, and HAProxy's own word. */
import { request } from 'node:http'
import { Gauge, Registry } from 'prom-client'
import { slotName } from './commands.js'
import type { Director } from './director.js'
import type { Frame } from './render.js'
import { ask, parseStats } from './runtime.js'
import type { Shape } from './shape.js'

const answerWithinMs = 2_000
const exporterBytesMax = 16 * 1024 * 1024

export interface BalancerMetrics {
  readonly contentType: string
  metrics(): Promise<string>
}

export function metricsOf(director: Director, frame: Frame, shape: () => Shape): BalancerMetrics {
  const registry = new Registry()
  const gauge = (name: string, help: string, ...labelNames: string[]): Gauge =>
    new Gauge({ name: `rain_balancer_${name}`, help, labelNames, registers: [registry] })
  const running = gauge('up', '1 while HAProxy runs')
  const changes = gauge('changes', 'Changes of HAProxy since the agent started, by the way taken', 'way')
  const labels = ['pattern', 'server']
  const up = gauge('server_up', '1 while HAProxy sends to a server', ...labels)
  const sessions = gauge('server_sessions', 'Sessions under way at a server', ...labels)
  const requests = gauge('server_requests', 'Sessions that a server has had since the last reload', ...labels)
  const weights = gauge('server_weight', 'Its share of new visitors; 0 takes none', ...labels)
  const look = async (): Promise<void> => {
    running.set(director.pid === undefined ? 0 : 1)
    for (const [way, count] of Object.entries(director.counts)) changes.set({ way }, count)
    const stats = parseStats(await ask(frame.socket, 'show stat').catch(() => ''))
    const known = namesOf(shape())
    for (const each of [up, sessions, requests, weights]) each.reset()
    for (const each of stats) {
      const set = known.get(`${each.backend}/${each.server}`)
      if (!set) continue
      up.set(set, each.up ? 1 : 0)
      sessions.set(set, each.sessions)
      requests.set(set, each.requests)
      weights.set(set, each.weight)
    }
  }
  return {
    contentType: registry.contentType,
    metrics: async () => {
      await look()
      return `${await registry.metrics()}${await ownWord(frame.metricsSocket)}`
    },
  }
}

/** `api` for the group of the replicas: no pattern looks like it. */
const namesOf = ({ pages, api }: Shape): Map<string, { pattern: string; server: string }> =>
  new Map(
    [...pages, api].flatMap(group =>
      group.slots.flatMap((target, index) =>
        target ? [[slotName(group, index), { pattern: group.pattern ?? 'api', server: target.id }] as const] : [],
      ),
    ),
  )

/** HAProxy's own exporter, without the slots that nobody is in; empty while it does not answer. */
function ownWord(socketPath: string): Promise<string> {
  return new Promise(resolve => {
    const call = request({ socketPath, path: '/metrics?no-maint', timeout: answerWithinMs }, answer => {
      let text = ''
      answer.setEncoding('utf8').on('data', (part: string) => {
        text += part
        if (text.length > exporterBytesMax) answer.destroy()
      })
      answer.once('close', () => resolve(answer.complete && answer.statusCode === 200 ? text : ''))
    })
    call.once('timeout', () => call.destroy())
    call.once('error', () => resolve(''))
    call.end()
  })
}
