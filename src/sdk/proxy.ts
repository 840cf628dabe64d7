/**
 * The way out where a firewall lets nothing out but an HTTP proxy: every connection is a tunnel that the proxy is asked
 * for by CONNECT, whether sessions, polls, packages, or links between nodes go through it.
 */
import { type AgentOptions, type ClientRequestArgs, Agent as HttpAgent, request } from 'node:http'
import { Agent as HttpsAgent } from 'node:https'
import { BlockList, isIP, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { connect as tlsConnect } from 'node:tls'

export interface ProxySettings {
  /** Urls of proxies, by what the target's url begins with; absent: directly. */
  readonly http?: string
  readonly https?: string
  /** Hosts that are reached directly: names, their domains, addresses, networks (`10.0.0.0/8`), `host:port`, or `*`. */
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
  if (rule.includes('/')) return isWithin(rule, host)
  const [, name = '', only] = /^(.*?)(?::(\d+))?$/.exec(isIP(rule) === 6 ? `${rule}` : rule) ?? []
  const plain = (isIP(rule) === 6 ? rule : name).replace(/^\[|\]$/g, '')
  if (isIP(rule) !== 6 && only !== undefined && only !== port) return false
  const bare = plain.replace(/^\*?\./, '')
  return plain === '*' || host === bare || (isIP(host) === 0 && host.endsWith(`.${bare}`))
}

function isWithin(network: string, host: string): boolean {
  const [address = '', bits = ''] = network.split('/')
  const family = isIP(address)
  if (family === 0 || isIP(host) !== family || !/^\d{1,3}$/.test(bits)) return false
  if (Number(bits) > (family === 6 ? 128 : 32)) return false
  const type = family === 6 ? 'ipv6' : 'ipv4'
  const list = new BlockList()
  list.addSubnet(address, Number(bits), type)
  return list.check(host, type)
}

/**
 * For one connection that nobody uses again: a firewall may have forgotten one that was kept. Empty: directly. Without a
 * tunnel in so many milliseconds the connection fails with the proxy's name.
 */
export function through(
  target: string,
  settings: ProxySettings | undefined,
  withinMs = tunnelWithinMs,
): { readonly agent?: HttpAgent } {
  const proxy = settings && proxyFor(target, settings)
  return proxy === undefined ? {} : { agent: tunnelAgent(target, proxy, {}, withinMs) }
}

type Connected = (error: Error | null, socket?: Duplex) => void

const tunnelWithinMs = 5_000

/** An agent for targets of that kind; `proxy` is its url, with `user:password@` where it wants to know who asks. */
export function tunnelAgent(
  target: string,
  proxy: string,
  options: AgentOptions = {},
  withinMs = tunnelWithinMs,
): HttpAgent {
  const secure = /^(https|wss):/.test(target)
  const agent = secure ? new HttpsAgent(options) : new HttpAgent(options)
  // As the documentation says of `createConnection`: without a socket, the callback brings it.
  const dial = (args: ClientRequestArgs & { servername?: string }, done: Connected): undefined => {
    const [host, port] = [args.host ?? 'localhost', Number(args.port ?? (secure ? 443 : 80))]
    openTunnel({ proxy, host, port, withinMs }, (error, socket) => {
      if (error || !socket) return done(error ?? new Error('no tunnel'))
      if (!secure) return done(null, socket)
      done(null, tlsConnect({ ...(args as object), socket, servername: args.servername ?? host }))
    })
    return undefined
  }
  return Object.assign(agent, { createConnection: dial })
}

interface Tunnel {
  readonly proxy: string
  readonly host: string
  readonly port: number
  readonly withinMs: number
}

/** A proxy that refuses is one that cannot be passed: said with its status. */
function openTunnel(
  { proxy, host, port, withinMs }: Tunnel,
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
  }, withinMs)
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
