/**
 * One table says every option of every role: its flag, its environment variable (`RAIN_` and the flag in capitals), its
 * default and what it is for; the command line, the README's table and the errors all come from it.
 */
export type RoleName = 'hypervisor' | 'mothership' | 'server' | 'balancer'
export type OptionType =
  | 'text'
  | 'id'
  | 'port'
  | 'number'
  | 'amount'
  | 'measure'
  | 'uids'
  | 'count'
  | 'duration'
  | 'patterns'
  | 'labels'
  | 'flag'
  | 'level'
  | 'urls'
  | 'origin'
  | 'url'
  | 'proxy'
  | 'file'
  | 'secret'

export interface Option {
  readonly flag: string
  readonly type: OptionType
  readonly roles: readonly RoleName[]
  readonly help: string
  /** Text as a user would write it; absent = required. */
  readonly default?: string
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
  {
    flag: 'prometheus',
    type: 'url',
    roles: ['hypervisor'],
    default: '',
    help: 'url of a Prometheus to ask for the load of motherships (default: their own reports)',
  },
  {
    flag: 'prometheus-token-file',
    type: 'file',
    roles: ['hypervisor'],
    default: '',
    help: 'file with a bearer token for that Prometheus',
  },
  { flag: 'hypervisor', type: 'urls', roles: nodes, help: 'urls of hypervisor replicas, separated by commas' },
  {
    flag: 'proxy',
    type: 'proxy',
    roles: nodes,
    default: '',
    help: 'HTTP proxy that all connections to replicas and other nodes go through by CONNECT (default HTTPS_PROXY and HTTP_PROXY, except NO_PROXY)',
  },
  {
    flag: 'poll-hold',
    type: 'duration',
    roles: nodes,
    default: '20s',
    help: 'how long a replica may hold a poll, where websockets do not pass: less than a firewall lets a connection be idle',
  },
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
    type: 'amount',
    roles: ['mothership'],
    default: 'auto',
    help: 'millicores to give away; auto: all that this machine or control group has',
  },
  {
    flag: 'capacity-ram',
    type: 'amount',
    roles: ['mothership'],
    default: 'auto',
    help: 'MiB to give away; auto: all that this machine or control group has',
  },
  {
    flag: 'capacity-bandwidth',
    type: 'number',
    roles: ['mothership'],
    default: '1000000',
    help: 'kbit/s to give away',
  },
  {
    flag: 'measure',
    type: 'measure',
    roles: ['mothership'],
    default: 'processes',
    help: 'whose load it reports: its own processes, its cgroup, or the whole machine when that is its alone',
  },
  {
    flag: 'component-uid',
    type: 'uids',
    roles: ['mothership'],
    default: '',
    help: 'user id that components run as, or a range like 60000-60999 of which each process gets its own (needs root)',
  },
  {
    flag: 'component-cgroup',
    type: 'text',
    roles: ['mothership'],
    default: '',
    help: 'directory of a control group in which each process of a component gets its own, bounded by the kernel',
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
