/**
 * The way out where a firewall lets nothing out but an HTTP proxy: every connection is a tunnel that the proxy is asked
 * for by CONNECT, whether websockets, polls or packages go through it.
 */
import { type AgentOptions, type ClientRequestArgs, Agent as HttpAgent, request } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { isIP, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as tlsConnect } from 'node:tls'

export interface ProxySettings {
  /** Urls of proxies, by what the target's url begins with; absent: directly. */
  readonly http?: string
  readonly https?: string
  /** Hosts that are reached directly: names, their domains, addresses, `host:port`, or `*`. */
  readonly except: readonly string[]
}

/** Undefined: directly. */
export function proxyFor(target: string, { http, https, except }: ProxySettings): string | undefined {
  const { protocol, hostname, port } = new URL(target.replace(/^ws/, 'http'))
  const number = port === '' ? (protocol === 'https:' ? '443' : '80') : port
  const host = hostname.replace(/^\[|\]$/g, '').toLowerCase()
  if (except.some(each => isExcepted(each.toLowerCase(), host, number))) return undefined
  return protocol === 'https:' ? https : http
}

function isExcepted(rule: string, host: string, port: string): boolean {
  const [, name = '', only] = /^(.*?)(?::(\d+))?$/.exec(isIP(rule) === 6 ? `${rule}` : rule) ?? []
  const plain = (isIP(rule) === 6 ? rule : name).replace(/^\[|\]$/g, '')
  if (isIP(rule) !== 6 && only !== undefined && only !== port) return false
  const bare = plain.replace(/^\*?\./, '')
  return plain === '*' || host === bare || (isIP(host) === 0 && host.endsWith(`.${bare}`))
}

type Connected = (error: Error | null, socket?: Duplex) => void

const tunnelWithinMs = 5_000

/** An agent for targets of that kind; `proxy` is its url, with `user:password@` where it wants to know who asks. */
export function tunnelAgent(target: string, proxy: string, options: AgentOptions = {}): HttpAgent {
  const secure = /^(https|wss):/.test(target)
  const agent = secure ? new HttpsAgent(options) : new HttpAgent(options)
  // As the documentation says of `createConnection`: without a socket, the callback brings it.
  const dial = (args: ClientRequestArgs & { servername?: string }, done: Connected): undefined => {
    const [host, port] = [args.host ?? 'localhost', Number(args.port ?? (secure ? 443 : 80))]
    openTunnel(proxy, host, port, (error, socket) => {
      if (error || !socket) return done(error ?? new Error('no tunnel'))
      if (!secure) return done(null, socket)
      done(null, tlsConnect({ ...(args as object), socket, servername: args.servername ?? host }))
    })
    return undefined
  }
  return Object.assign(agent, { createConnection: dial })
}

/** A proxy that refuses is one that cannot be passed: said with its status. */
function openTunnel(
  proxy: string,
  host: string,
  port: number,
  done: (error: Error | null, socket?: Socket) => void,
): void {
  const { hostname, port: proxyPort, username, password } = new URL(proxy)
  const authority = `${host.includes(':') ? `[${host}]` : host}:${port}`
  const credential = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
  const asked = request({
    host: hostname.replace(/^\[|\]$/g, ''),
    port: proxyPort === '' ? 80 : Number(proxyPort),
    method: 'CONNECT',
    path: authority,
    headers: { host: authority, ...(username === '' ? {} : { 'proxy-authorization': `Basic ${credential}` }) },
    agent: false,
  })
  let settled = false
  const settle = (error: Error | null, socket?: Socket): void => {
    clearTimeout(timer)
    if (settled) return
    settled = true
    done(error, socket)
  }
  const failure = (why: string): Error => new Error(`the proxy ${hostname}:${proxyPort || 80} ${why}`)
  const timer = setTimeout(() => {
    settle(failure(`opened no tunnel to ${authority} in time`))
    asked.destroy()
  }, tunnelWithinMs)
  asked.on('connect', (response, socket, head) => {
    if (response.statusCode !== 200) {
      socket.destroy()
      return settle(failure(`answered ${response.statusCode} to CONNECT ${authority}`))
    }
    if (head.byteLength > 0) socket.unshift(head)
    socket.setNoDelay(true)
    settle(null, socket)
  })
  asked.on('response', response => {
    response.resume()
    settle(failure(`answered ${response.statusCode} to CONNECT ${authority}`))
    asked.destroy()
  })
  asked.on('error', error => settle(failure(`cannot be used: ${error.message}`)))
  asked.end()
}
