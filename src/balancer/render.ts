/**
 * The text of HAProxy's configuration. Pure, and meant to be read: the tests compare it with files. Servers stand in
 * slots and patterns in backends that are made in advance, so that both come and go through the runtime API without a
 * reload; the cookie is a dynamic one, made from address and port, so that a client stays with its server whatever slot
 * that has.
 */
import { isIP } from 'node:net'
import { usualWeight } from '../cloud/routing/weights.js'
import { exactMapFile, prefixMapFile } from './maps.js'
import type { Group, Placed, Shape } from './shape.js'

export interface Frame {
  readonly host: string
  readonly pagesPort: number
  readonly apiPort: number
  /** Of the runtime API. */
  readonly socket: string
  /** Where HAProxy's own metrics are fetched: a unix socket as well. */
  readonly metricsSocket: string
  /** Directory of the map files, absolute. */
  readonly directory: string
  /** Makes the cookies: the same at every balancer of a cloud. */
  readonly cookieKey: string
}

export function renderConfig(shape: Shape, frame: Frame): string {
  return [
    ...globals(frame),
    '',
    ...frontends(frame),
    '',
    ...shape.pages.flatMap(group => [...pagesBackend(group, frame), '']),
    'backend no-server',
    '    http-request return status 503 content-type text/plain string "no rain server renders this path\\n" hdr Retry-After 1',
    '',
    ...apiBackend(shape.api, frame),
    '',
  ].join('\n')
}

const globals = ({ socket }: Frame): string[] => [
  '# Written by `rain balancer`: changes made here are overwritten.',
  'global',
  '    # Websockets stay with the process that they were opened at, for so long, or so many reloads.',
  '    hard-stop-after 10m',
  '    mworker-max-reloads 50',
  '    tune.bufsize 32768',
  `    stats socket ${quoted(socket)} mode 600 level admin expose-fd listeners`,
  '',
  'defaults',
  '    mode http',
  '    option http-keep-alive',
  '    # Who has a connection open is not cut off by a reload: the next answer says that it closes.',
  '    option idle-close-on-response',
  '    option redispatch 1',
  '    retries 3',
  '    timeout connect 1s',
  '    timeout http-request 5s',
  '    timeout http-keep-alive 30s',
  '    timeout queue 3s',
  '    timeout client 65s',
  '    timeout server 65s',
  '    timeout tunnel 1h',
  '    default-server inter 500ms fastinter 200ms downinter 200ms fall 2 rise 1 maxconn 2000',
  `    default-server weight ${usualWeight}`,
]

const frontends = ({ host, pagesPort, apiPort, directory, metricsSocket }: Frame): string[] => [
  'frontend pages',
  `    bind ${bound(host, pagesPort)}`,
  '    option forwardfor',
  '    # The most specific pattern decides: the whole path first, then the longest prefix.',
  `    http-request set-var(txn.group) path,map_str(${argument(`${directory}/${exactMapFile}`)})`,
  `    http-request set-var(txn.group) path,map_beg(${argument(`${directory}/${prefixMapFile}`)}) unless { var(txn.group) -m found }`,
  '    use_backend %[var(txn.group)] if { var(txn.group) -m found }',
  '    default_backend no-server',
  '',
  'frontend api',
  `    bind ${bound(host, apiPort)}`,
  '    option forwardfor',
  '    default_backend api',
  '',
  'frontend metrics',
  `    bind ${quoted(`unix@${metricsSocket}`)} mode 600`,
  '    http-request use-service prometheus-exporter',
]

/** Only what may be asked twice is asked again at another server after it was sent. */
const retryOn = '    retry-on conn-failure empty-response'
const retries = [retryOn, '    http-request disable-l7-retry unless METH_GET']
/** A change under a key of the caller's takes effect once, however often it is sent. */
const apiRetries = [
  retryOn,
  '    http-request disable-l7-retry unless METH_GET or { req.hdr(idempotency-key) -m found }',
]

const pagesBackend = (group: Group, { cookieKey }: Frame): string[] => [
  `# ${group.pattern ?? 'free'}`,
  `backend ${group.name}`,
  '    balance roundrobin',
  '    cookie RAIN insert indirect nocache httponly dynamic attr SameSite=Lax',
  `    dynamic-cookie-key ${cookieKey}`,
  '    option httpchk GET /healthz',
  '    http-check expect status 200',
  ...retries,
  ...servers(group),
]

/**
 * A node whose websockets do not pass opens its session by a poll at one replica, and all that follow are to come to that
 * one. So the answer to a poll names it by a cookie, which the node sends back; elsewhere the cookie is none. Should the
 * replica be gone, another one is asked, which does not know the session, and the node opens a new one.
 */
const apiBackend = (group: Group, { cookieKey }: Frame): string[] => [
  `backend ${group.name}`,
  '    balance roundrobin',
  '    cookie RAIN-REPLICA insert indirect nocache httponly dynamic attr SameSite=Lax',
  `    dynamic-cookie-key ${cookieKey}`,
  `    ignore-persist unless METH_POST { path_reg ${pollPaths} }`,
  '    option httpchk GET /readyz',
  '    http-check expect status 200',
  ...apiRetries,
  ...servers(group),
]

/** As `pollPath` of the protocol makes them. */
const pollPaths = '^/nodes/[^/]+/poll$'

const servers = ({ slots }: Group): string[] =>
  slots.map((target, index) => `    server s${index + 1} ${slotOf(target)}`)

function slotOf(target: Placed | null): string {
  if (!target) return '127.0.0.1:1 check disabled'
  const resolve = isIP(target.host) === 0 ? ' init-addr last,libc,none' : ''
  const weight = target.weight === usualWeight ? '' : ` weight ${target.weight}`
  return `${bound(target.host, target.port)} check${resolve}${weight} # ${target.id.replace(strange, '?')}`
}

/** Of a name in a comment, which ends with the line. */
const strange = /[^\w.@:-]/g

const bound = (host: string, port: number): string => (isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`)

const plain = /^[\w./@:-]+$/
const quoted = (text: string): string => (plain.test(text) ? text : `"${text.replace(/(["\\$])/g, '\\$1')}"`)

/** In the brackets of a converter, commas and brackets have a meaning of their own: quotes within quotes. */
const argument = (text: string): string => (plain.test(text) ? text : quoted(`"${text.replace(/(["\\])/g, '\\$1')}"`))
