/**
 * The routing table as a file for the http block of nginx. Pure. A visitor comes back to a rain server by the same cookie
 * as with HAProxy; where that server does not answer, another one does. nginx looks at paths after decoding them, and
 * has no checks of its own, so a server that does not answer is left out for a second after each failure.
 */
import type { PatternRoute, RouteServer, RoutesAnswer } from '../cloud/routing/table.js'

export function nginxFile({ cookie, routes, revision: _ }: RoutesAnswer, listen: number): string {
  const groups = routes.map((route, index) => ({ route, name: `rain_${index + 1}` }))
  return `${[
    '# Written by `rain routes --format nginx`: changes made here are overwritten.',
    ...groups.flatMap(({ route, name }) => upstreams(route, name)),
    ...groups.flatMap(({ route, name }) => stickyMap(route, name, cookie.name)),
    ...cookieMap(routes, cookie.name),
    'map $http_upgrade $rain_connection {',
    '    default upgrade;',
    "    '' '';",
    '}',
    'server {',
    `    listen ${listen};`,
    '    client_max_body_size 10m;',
    '    proxy_http_version 1.1;',
    '    proxy_set_header Host $http_host;',
    '    proxy_set_header Upgrade $http_upgrade;',
    '    proxy_set_header Connection $rain_connection;',
    '    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;',
    '    proxy_connect_timeout 1s;',
    '    proxy_read_timeout 1h;',
    '    add_header Set-Cookie $rain_cookie always;',
    ...groups.flatMap(({ route, name }) => locations(route, name, routes)),
    ...(routes.some(each => each.pattern === '/*') ? [] : ['    location / {', '        return 503;', '    }']),
    '}',
  ].join('\n')}\n`
}

const at = ({ host, port }: RouteServer): string => `${host.includes(':') ? `[${host}]` : host}:${port}`
const quoted = (text: string): string => `"${text.replace(/(["\\])/g, '\\$1')}"`
const line = (server: RouteServer, more: string): string =>
  `    server ${at(server)} max_fails=1 fail_timeout=1s${more};`

/** One for who is new, and one for each server, to which the others stand in. */
function upstreams({ pattern, servers }: PatternRoute, name: string): string[] {
  const taking = servers.filter(each => each.weight > 0)
  const some = taking.length > 0 ? taking : servers
  return [
    `# ${pattern}`,
    `upstream ${name} {`,
    ...some.map(each => line(each, ` weight=${Math.max(1, each.weight)}`)),
    '}',
    ...servers.flatMap((own, index) => [
      `upstream ${name}_${index + 1} { # ${own.id}`,
      line(own, ''),
      ...some.filter(each => each !== own).map(each => line(each, ' backup')),
      '}',
    ]),
  ]
}

const stickyMap = ({ servers }: PatternRoute, name: string, cookie: string): string[] => [
  `map $cookie_${cookie} $${name} {`,
  `    default ${name};`,
  ...servers.flatMap((each, index) => (each.cookie === null ? [] : [`    ${each.cookie} ${name}_${index + 1};`])),
  '}',
]

/** Empty, and then not set, where the visitor has it. */
function cookieMap(routes: readonly PatternRoute[], name: string): string[] {
  const servers = new Map(routes.flatMap(each => each.servers).map(each => [each.id, each]))
  const rows = [...servers.values()].flatMap(each => {
    if (each.cookie === null) return []
    const address = at(each).replace(/[.[\]]/g, '\\$&')
    return [
      `    "~(^|[ ,])${address} ${each.cookie}$" '';`,
      `    "~(^|[ ,])${address} " "${name}=${each.cookie}; Path=/; HttpOnly; SameSite=Lax";`,
    ]
  })
  return [`map "$upstream_addr $cookie_${name}" $rain_cookie {`, "    default '';", ...rows, '}']
}

function locations({ pattern }: PatternRoute, name: string, all: readonly PatternRoute[]): string[] {
  const pass = (where: string): string[] => [`    location ${where} {`, `        proxy_pass http://$${name};`, '    }']
  if (!pattern.endsWith('/*')) return pass(`= ${quoted(pattern)}`)
  const path = pattern.slice(0, -2)
  const own = path !== '' && !all.some(each => each.pattern === path)
  return [...pass(`^~ ${quoted(`${path}/`)}`), ...(own ? pass(`= ${quoted(path)}`) : [])]
}
