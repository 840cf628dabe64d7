/** How this node reaches replicas: by either way, directly or through a proxy. */
import type { Agent, AgentOptions } from 'node:http'
import { PollingTransport } from './polling-transport.js'
import { type ProxySettings, proxyFor, through, tunnelAgent } from './proxy.js'
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
  constructor(
    private readonly node: string,
    private readonly token: string,
    private readonly options: DialerOptions = {},
  ) {}

  dial(url: string, way: Way, events: TransportEvents): Transport {
    const { node, token } = this
    if (way === 'websocket') return new WebSocketTransport({ url, token, ...this.through(url) }, events)
    const holdMs = this.options.pollHoldMs ?? pollHoldMsDefault
    const agent = this.#tunnels(url, { keepAlive: true })
    return new PollingTransport({ url, token, node, holdMs, ...(agent ? { agent } : {}) }, events)
  }

  through(url: string): { readonly agent?: Agent } {
    return through(url, this.options.proxy)
  }

  #tunnels(url: string, options: AgentOptions): Agent | undefined {
    const proxy = this.options.proxy && proxyFor(url, this.options.proxy)
    return proxy === undefined ? undefined : tunnelAgent(url, proxy, options)
  }
}
