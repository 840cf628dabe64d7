/**
 * The only reader of environment, files and flags. The result is complete and frozen; modules get the few values they
 * use.
 */
import { randomBytes } from 'node:crypto'
import { CloudError } from './cloud/errors.js'
import type { Option } from './config/options.js'
import { options, type RoleName } from './config/options.js'
import { type Measure, parse, type UidRange } from './config/parse.js'
import { type Proxies, readProxies } from './config/proxies.js'

export { type Option, options, type RoleName } from './config/options.js'

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
  /** Without a slash at the end. */
  readonly prometheus?: string
  readonly prometheusToken?: string
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
  readonly network?: NetworkConfig
}

/** How a node gets out to the replicas. */
export interface NetworkConfig {
  /** Absent: everything is reached directly. */
  readonly proxy?: Proxies
  readonly pollHoldMs: number
}

export interface MothershipConfig extends NodeConfig {
  readonly zone?: string
  readonly labels: Readonly<Record<string, string>>
  readonly dataDir: string
  /** Without a number: what the machine or the control group has. */
  readonly capacity: { readonly cpu?: number; readonly ram?: number; readonly bandwidth: number }
  readonly measure: Measure
  readonly componentUids?: UidRange
  readonly componentCgroup?: string
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
  const proxies =
    role === 'hypervisor'
      ? { value: undefined }
      : readProxies((values.get('proxy') as string | undefined) ?? '', environment)
  if ('problem' in proxies) problems.push(proxies.problem)
  else values.set('proxies', proxies.value)
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
  return option.default
}

/** Left out where there is none. */
const given = (name: string, text: string): Record<string, string> => (text === '' ? {} : { [name]: text })

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
      ...given('prometheus', get<string>('prometheus')),
      ...given('prometheusToken', get<string>('prometheus-token-file')),
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
    network: networkOf(get<Proxies | undefined>('proxies'), get<number>('poll-hold')),
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
    measure: get<Measure>('measure'),
    ...(get('component-uid') === undefined ? {} : { componentUids: get<UidRange>('component-uid') }),
    ...given('componentCgroup', get<string>('component-cgroup')),
    capacity: {
      ...(get('capacity-cpu') === undefined ? {} : { cpu: get<number>('capacity-cpu') }),
      ...(get('capacity-ram') === undefined ? {} : { ram: get<number>('capacity-ram') }),
      bandwidth: get<number>('capacity-bandwidth'),
    },
  }
}

const networkOf = (proxy: Proxies | undefined, pollHoldMs: number): NetworkConfig => ({
  ...(proxy ? { proxy } : {}),
  pollHoldMs,
})

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
