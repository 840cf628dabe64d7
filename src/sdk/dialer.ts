/** How this node reaches replicas: by either way, directly or through a proxy. */
import type { Agent } from 'node:http'
import { PollingTransport } from './polling-transport.js'
import { type ProxySettings, proxyFor, tunnelAgent } from './proxy.js'
import type { Transport, TransportEvents } from './transport.js'
import type { Way } from './way.js'
import { WebSocketTransport } from './websocket-transport.js'

export interface DialerOptions {
  readonly proxy?: ProxySettings
  readonly pollHoldMs?: number
}

/** Most firewalls let a connection be idle for 30 s. */
export const pollHoldMsDefault = 20_000

export class Dialer {
  /** One for each kind of url, as long as the node lives: its tunnels are kept. */
  readonly #agents = new Map<string, Agent>()

  constructor(
    private readonly node: string,
    private readonly token: string,
    private readonly options: DialerOptions = {},
  ) {}

  dial(url: string, way: Way, events: TransportEvents): Transport {
    const agent = this.agentFor(url)
    const dial = { url, token: this.token, ...(agent ? { agent } : {}) }
    if (way === 'websocket') return new WebSocketTransport(dial, events)
    return new PollingTransport(
      { ...dial, node: this.node, holdMs: this.options.pollHoldMs ?? pollHoldMsDefault },
      events,
    )
  }

  /** Undefined: directly. */
  agentFor(url: string): Agent | undefined {
    const proxy = this.options.proxy && proxyFor(url, this.options.proxy)
    if (proxy === undefined) return undefined
    const key = `${new URL(url).protocol} ${proxy}`
    let agent = this.#agents.get(key)
    if (!agent) this.#agents.set(key, (agent = tunnelAgent(url, proxy, { keepAlive: true })))
    return agent
  }

  close(): void {
    for (const agent of this.#agents.values()) agent.destroy()
  }
}
