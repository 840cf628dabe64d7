/**
 * The only reader of environment, files and flags. One table says every option of every role: its flag, its
 * environment variable (`RAIN_` and the flag in capitals), its default and what it is for; the command line, the
 * README's table and the errors all come from it. The result is complete and frozen; modules get the few values they use.
 */
import { randomBytes } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { cpus, totalmem } from 'node:os'
import { isUrlPattern } from './cloud/commands.js'
import { parseDurationMs } from './cloud/duration.js'
import { CloudError } from './cloud/errors.js'
import { isNewNodeId } from './cloud/ids.js'

export type RoleName = 'hypervisor' | 'mothership' | 'server' | 'balancer'
type OptionType =
  | 'text'
  | 'id'
  | 'port'
  | 'number'
  | 'count'
  | 'duration'
  | 'patterns'
  | 'labels'
  | 'flag'
  | 'level'
  | 'urls'
  | 'origin'
  | 'file'
  | 'secret'

export interface Option {
  readonly flag: string
  readonly type: OptionType
  readonly roles: readonly RoleName[]
  readonly help: string
  /** Text as a user would write it; a function where it depends on the machine; absent = required. */
  readonly default?: string | (() => string)
}

const all: readonly RoleName[] = ['hypervisor', 'mothership', 'server', 'balancer']
const nodes: readonly RoleName[] = ['mothership', 'server', 'balancer']

export const options: readonly Option[] = [
  { flag: 'id', type: 'id', roles: all, help: 'name of this process in the cloud, unique among its kind' },
  { flag: 'host', type: 'text', roles: all, default: '127.0.0.1', help: 'address to listen on' },
  { flag: 'port', type: 'port', roles: all, help: 'port to listen on (REST, links, pages; balancer: pages)' },
  { flag: 'log-level', type: 'level', roles: all, default: 'info', help: 'trace, debug, info, warn, error or silent' },
  { flag: 'cluster', type: 'id', roles: ['hypervisor'], default: 'main', help: 'name of the cloud: its keys in etcd' },
  { flag: 'etcd', type: 'urls', roles: ['hypervisor'], help: 'urls of the etcd members, separated by commas' },
  { flag: 'etcd-user', type: 'text', roles: ['hypervisor'], default: '', help: 'user of an etcd that asks for one' },
  {
    flag: 'etcd-password-file',
    type: 'file',
    roles: ['hypervisor'],
    default: '',
    help: 'file with the password of that user',
  },
  {
    flag: 'url',
    type: 'origin',
    roles: ['hypervisor'],
    default: '',
    help: 'url under which others reach this replica (default http://host:port)',
  },
  {
    flag: 'peer-secret-file',
    type: 'secret',
    roles: ['hypervisor'],
    help: 'file with the secret that the replicas share',
  },
  {
    flag: 'bootstrap-file',
    type: 'file',
    roles: ['hypervisor'],
    default: '',
    help: 'JSON file of token records that the first leader writes when they are absent',
  },
  { flag: 'leader-ttl', type: 'duration', roles: ['hypervisor'], default: '2s', help: 'lease of the leader key' },
  {
    flag: 'presence-ttl',
    type: 'duration',
    roles: ['hypervisor'],
    default: '10s',
    help: 'lease of this replica and of the sessions that it holds',
  },
  {
    flag: 'private-metrics',
    type: 'flag',
    roles: ['hypervisor'],
    default: 'false',
    help: 'ask a token for /metrics and /prometheus/targets too',
  },
  { flag: 'hypervisor', type: 'urls', roles: nodes, help: 'urls of hypervisor replicas, separated by commas' },
  { flag: 'token-file', type: 'secret', roles: nodes, help: 'file with the credential of this node' },
  { flag: 'metrics-port', type: 'port', roles: nodes, help: 'port of /metrics, apart from pages and links' },
  {
    flag: 'address',
    type: 'origin',
    roles: nodes,
    default: '',
    help: 'address under which others reach this node (default from host and port)',
  },
  { flag: 'zone', type: 'text', roles: ['mothership', 'server'], default: '', help: 'zone that it stands in' },
  {
    flag: 'labels',
    type: 'labels',
    roles: ['mothership', 'server'],
    default: '',
    help: 'labels, key=value separated by commas',
  },
  {
    flag: 'data-dir',
    type: 'text',
    roles: ['mothership', 'balancer'],
    help: 'directory for packages, or for the rendered HAProxy configuration',
  },
  {
    flag: 'capacity-cpu',
    type: 'number',
    roles: ['mothership'],
    default: () => String(cpus().length * 1000),
    help: 'millicores to give away',
  },
  {
    flag: 'capacity-ram',
    type: 'number',
    roles: ['mothership'],
    default: () => String(Math.floor(totalmem() / 2 ** 20)),
    help: 'MiB to give away',
  },
  {
    flag: 'capacity-bandwidth',
    type: 'number',
    roles: ['mothership'],
    default: '1000000',
    help: 'kbit/s to give away',
  },
  {
    flag: 'urls',
    type: 'patterns',
    roles: ['server'],
    default: '/*',
    help: 'path patterns that it renders, separated by commas',
  },
  { flag: 'api-port', type: 'port', roles: ['balancer'], help: 'port of REST and console behind HAProxy' },
  { flag: 'haproxy', type: 'text', roles: ['balancer'], default: 'haproxy', help: 'the HAProxy program' },
  {
    flag: 'slots',
    type: 'count',
    roles: ['balancer'],
    default: '32',
    help: 'server slots made in advance per backend',
  },
]

export interface HypervisorConfig {
  readonly id: string
  readonly host: string
  readonly port: number
  readonly logLevel: string
  readonly cluster: string
  readonly etcd: readonly string[]
  readonly etcdAuth?: { readonly user: string; readonly password: string }
  readonly url: string
  readonly peerSecret: string
  /** Content of the bootstrap file, unparsed; empty when there is none. */
  readonly bootstrap: string
  readonly leaderTtlMs: number
  readonly presenceTtlMs: number
  readonly privateMetrics: boolean
  /** Made anew at each start. */
  readonly incarnation: string
}

interface NodeConfig {
  readonly id: string
  readonly host: string
  readonly port: number
  readonly metricsPort: number
  readonly logLevel: string
  readonly hypervisors: readonly string[]
  readonly token: string
  readonly address: string
}

export interface MothershipConfig extends NodeConfig {
  readonly zone?: string
  readonly labels: Readonly<Record<string, string>>
  readonly dataDir: string
  readonly capacity: { readonly cpu: number; readonly ram: number; readonly bandwidth: number }
}

export interface RainServerConfig extends NodeConfig {
  readonly zone?: string
  readonly labels: Readonly<Record<string, string>>
  readonly urls: readonly string[]
}

export interface BalancerConfig extends NodeConfig {
  readonly dataDir: string
  readonly apiPort: number
  readonly haproxy: string
  readonly slots: number
}

export interface Configs {
  hypervisor: HypervisorConfig
  mothership: MothershipConfig
  server: RainServerConfig
  balancer: BalancerConfig
}

/** Flags as the command line gives them: by long name without dashes. */
export type Flags = Readonly<Record<string, string | undefined>>
type Environment = Readonly<Record<string, string | undefined>>

export const environmentName = (flag: string): string => `RAIN_${flag.toUpperCase().replaceAll('-', '_')}`

/**
 * Flags beat the environment, the environment beats defaults.
 * Throws `misconfigured`, naming every option that is missing or wrong and how to give it.
 */
export function readConfig<R extends RoleName>(role: R, flags: Flags, environment: Environment): Readonly<Configs[R]> {
  const problems: string[] = []
  const values = new Map<string, unknown>()
  for (const option of options.filter(each => each.roles.includes(role))) {
    const text = textOf(option, flags, environment)
    if (text === undefined) {
      problems.push(`--${option.flag} (or ${environmentName(option.flag)}) is missing: ${option.help}`)
      continue
    }
    const parsed = parse(option, text, role)
    if ('problem' in parsed) problems.push(`--${option.flag} ${JSON.stringify(text)}: ${parsed.problem}`)
    else values.set(option.flag, parsed.value)
  }
  problems.push(...samePorts(values), ...halfAuth(values))
  if (problems.length > 0) throw new CloudError('misconfigured', problems.join('; '))
  return Object.freeze(compose(role, values)) as Readonly<Configs[R]>
}

const ports = ['port', 'metrics-port', 'api-port'] as const

/** 0 is any free port, so two of these are two ports. */
function samePorts(values: ReadonlyMap<string, unknown>): string[] {
  return ports.flatMap((flag, i) => {
    const port = values.get(flag)
    const other = ports.slice(0, i).find(each => port !== undefined && port !== 0 && values.get(each) === port)
    return other === undefined ? [] : [`--${flag} ${port} is that of --${other}`]
  })
}

function halfAuth(values: ReadonlyMap<string, unknown>): string[] {
  const [user, password] = [values.get('etcd-user'), values.get('etcd-password-file')]
  if (Boolean(user) === Boolean(password) || user === undefined || password === undefined) return []
  return [user ? '--etcd-user needs --etcd-password-file' : '--etcd-password-file needs --etcd-user']
}

function textOf(option: Option, flags: Flags, environment: Environment): string | undefined {
  const given = flags[option.flag] ?? environment[environmentName(option.flag)]
  if (given !== undefined) return given
  return typeof option.default === 'function' ? option.default() : option.default
}

function compose(role: RoleName, values: ReadonlyMap<string, unknown>): Configs[RoleName] {
  const get = <T>(flag: string): T => values.get(flag) as T
  const common = {
    id: get<string>('id'),
    host: get<string>('host'),
    port: get<number>('port'),
    logLevel: get<string>('log-level'),
  }
  const origin = `${bracketed(common.host)}:${common.port}`
  if (role === 'hypervisor') {
    return {
      ...common,
      cluster: get<string>('cluster'),
      etcd: get<string[]>('etcd'),
      ...(get<string>('etcd-user')
        ? { etcdAuth: { user: get<string>('etcd-user'), password: get<string>('etcd-password-file') } }
        : {}),
      url: get<string>('url') || `http://${origin}`,
      peerSecret: get<string>('peer-secret-file'),
      bootstrap: get<string>('bootstrap-file'),
      leaderTtlMs: get<number>('leader-ttl'),
      presenceTtlMs: get<number>('presence-ttl'),
      privateMetrics: get<boolean>('private-metrics'),
      incarnation: randomBytes(8).toString('hex'),
    }
  }
  const scheme = role === 'mothership' ? 'ws' : 'http'
  const node = {
    ...common,
    metricsPort: get<number>('metrics-port'),
    hypervisors: get<string[]>('hypervisor'),
    token: get<string>('token-file'),
    address: get<string>('address') || `${scheme}://${origin}`,
  }
  if (role === 'balancer') {
    return {
      ...node,
      dataDir: get<string>('data-dir'),
      apiPort: get<number>('api-port'),
      haproxy: get<string>('haproxy'),
      slots: get<number>('slots'),
    }
  }
  const zone = get<string>('zone')
  const place = { ...(zone ? { zone } : {}), labels: get<Record<string, string>>('labels') }
  if (role === 'server') return { ...node, ...place, urls: get<string[]>('urls') }
  return {
    ...node,
    ...place,
    dataDir: get<string>('data-dir'),
    capacity: {
      cpu: get<number>('capacity-cpu'),
      ram: get<number>('capacity-ram'),
      bandwidth: get<number>('capacity-bandwidth'),
    },
  }
}

type Parsed = { value: unknown } | { problem: string }

const levels = ['trace', 'debug', 'info', 'warn', 'error', 'silent']
const ttlMinMs = 1_000

function parse(option: Option, text: string, role: RoleName): Parsed {
  switch (option.type) {
    case 'text':
      return text === '' && option.default !== '' ? { problem: 'must not be empty' } : { value: text }
    case 'level':
      return levels.includes(text) ? { value: text } : { problem: 'trace, debug, info, warn, error or silent' }
    case 'count':
      return /^[1-9]\d{0,8}$/.test(text) ? { value: Number(text) } : { problem: 'not a whole number above 0' }
    case 'origin':
      return parseOrigin(text, role === 'mothership' ? 'ws' : 'http')
    case 'patterns':
      return parsePatterns(text)
    case 'secret':
      return parseSecret(text)
    case 'id':
      return isNewNodeId(text)
        ? { value: text }
        : { problem: 'letters, digits, `_`, `.` and `-`, at most 128, and not `all`' }
    case 'port':
      return /^\d{1,5}$/.test(text) && Number(text) <= 65535 ? { value: Number(text) } : { problem: 'not a port' }
    case 'number':
      return /^\d{1,12}(\.\d+)?$/.test(text) ? { value: Number(text) } : { problem: 'not a number' }
    case 'duration': {
      const ms = parseDurationMs(text)
      if (ms === undefined) return { problem: 'not a duration like 500ms, 10s, 5m' }
      return ms < ttlMinMs ? { problem: 'at least 1s' } : { value: ms }
    }
    case 'flag':
      return text === 'true' || text === 'false' ? { value: text === 'true' } : { problem: 'true or false' }
    case 'urls': {
      const urls = splitList(text)
      const bad = urls.find(url => !URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
      if (urls.length === 0) return { problem: 'at least one url' }
      return bad === undefined
        ? { value: urls.map(url => url.replace(/\/+$/, '')) }
        : { problem: `${bad} is not an http url` }
    }
    case 'labels':
      return parseLabels(text)
    case 'file':
      return readText(text)
  }
}

const splitList = (text: string): string[] =>
  text
    .split(',')
    .map(part => part.trim())
    .filter(part => part !== '')

/** Empty: made of host and port. */
function parseOrigin(text: string, scheme: 'http' | 'ws'): Parsed {
  const fits = text === '' || (new RegExp(`^${scheme}s?://[^\\s/?#]+$`).test(text) && URL.canParse(text))
  return fits ? { value: text } : { problem: `not like ${scheme}://host:port` }
}

function parsePatterns(text: string): Parsed {
  const patterns = splitList(text)
  if (patterns.length === 0) return { problem: 'at least one path pattern' }
  const bad = patterns.find(each => !isUrlPattern(each))
  return bad === undefined ? { value: patterns } : { problem: `${bad} is no path pattern` }
}

/** It travels in a header. */
function parseSecret(path: string): Parsed {
  if (path === '') return { problem: 'must not be empty' }
  const read = readText(path)
  if ('problem' in read) return read
  const fits = /^[\x21-\x7e]{1,512}$/.test(String(read.value))
  return fits ? read : { problem: 'must hold one line without spaces, at most 512 characters' }
}

function parseLabels(text: string): Parsed {
  const labels: Record<string, string> = {}
  for (const part of splitList(text)) {
    const match = /^([\w./-]{1,128})=(.{0,256})$/.exec(part)
    if (!match) return { problem: `${part} is not key=value` }
    labels[match[1]!] = match[2]!
  }
  return { value: labels }
}

function readText(path: string): Parsed {
  if (path === '') return { value: '' }
  try {
    const text = readFileSync(path, 'utf8').trim()
    return text === '' ? { problem: 'the file is empty' } : { value: text }
  } catch (error) {
    return { problem: `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown cause'})` }
  }
}

/** An IPv6 address as it stands in an url. */
const bracketed = (host: string): string => (host.includes(':') ? `[${host}]` : host)

/** Where others find the metrics of a node: at its address, because what it listens on may be `0.0.0.0`. */
export const metricsUrl = ({
  address,
  metricsPort,
}: {
  readonly address: string
  readonly metricsPort: number
}): string => `http://${new URL(address).hostname}:${metricsPort}/metrics`
