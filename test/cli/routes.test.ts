/** The routing table as files for other balancers; nginx itself runs with its one. */
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { envoyFiles } from '../../src/cli/routes-envoy.js'
import { nginxFile } from '../../src/cli/routes-nginx.js'
import { dynamicCookie } from '../../src/cloud/routing/cookie.js'
import type { RouteServer, RoutesAnswer } from '../../src/cloud/routing/table.js'
import { freePorts, waitUntil } from '../support/etcd.js'

process.env['PATH'] = `${process.env['PATH']}:/usr/sbin`
const noNginx = spawnSync('nginx', ['-v']).error !== undefined
const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

async function aPage(id: string): Promise<RouteServer & { stop(): void }> {
  const server = createServer((_request, response) => response.end(id))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const stop = (): void => {
    server.closeAllConnections()
    server.close()
  }
  cleanups.push(stop)
  const [host, address] = ['127.0.0.1', `http://127.0.0.1:${port}`]
  return { id, host, port, address, state: 'ready', weight: 100, cookie: dynamicCookie('rain', host, port)!, stop }
}

const answer = (routes: RoutesAnswer['routes']): RoutesAnswer => ({
  revision: '1.1',
  cookie: { name: 'RAIN' },
  routes,
  replicas: [],
})

async function anNginx(config: string): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'rain-nginx-'))
  const at = (name: string): string => join(directory, name)
  writeFileSync(at('rain.conf'), config)
  const places = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(
    each => `${each}_temp_path ${at(`${each}-temp`)};`,
  )
  writeFileSync(
    at('nginx.conf'),
    `daemon off; pid ${at('pid')}; error_log ${at('error.log')}; events {}
     http { access_log off; ${places.join(' ')} include ${at('rain.conf')}; }`,
  )
  const args = ['-p', directory, '-c', at('nginx.conf'), '-e', at('error.log')]
  execFileSync('nginx', ['-t', ...args], { stdio: 'pipe' })
  const child = spawn('nginx', args, { stdio: 'ignore' })
  const ended = new Promise(resolve => child.once('exit', resolve))
  cleanups.push(async () => {
    child.kill('SIGQUIT')
    await ended
    rmSync(directory, { recursive: true, force: true })
  })
}

describe(`the file for nginx${noNginx ? ' (skipped: nginx is not installed)' : ''}`, () => {
  it.skipIf(noNginx)('has nginx send each path where it belongs, and a visitor to the same server again', async () => {
    const [a, b] = [await aPage('a'), await aPage('b')]
    const [port = 0] = await freePorts(1)
    const draining = { ...b, state: 'draining' as const, weight: 0 }
    const routes = [
      { pattern: '/only/b', servers: [b] },
      { pattern: '/quiet/*', servers: [a, draining] },
      { pattern: '/*', servers: [{ ...a, weight: 200 }, b] },
    ]
    await anNginx(nginxFile(answer(routes), port))
    const get = async (path: string, cookie = '') => {
      const got = await fetch(`http://127.0.0.1:${port}${path}`, { headers: { cookie } }).catch(() => undefined)
      return got && { text: await got.text(), set: got.headers.getSetCookie()[0]?.split(';')[0] }
    }
    await waitUntil('nginx serves', async () => (await get('/only/b'))?.text === 'b')
    const texts: string[] = []
    for (let i = 0; i < 30; i++) texts.push((await get('/x'))!.text)
    expect([texts.filter(each => each === 'a').length, texts.length]).toEqual([20, 30])
    const first = (await get('/x'))!
    expect(first.set).toBe(`RAIN=${(first.text === 'a' ? a : b).cookie}`)
    for (let i = 0; i < 5; i++) expect(await get('/x', first.set)).toEqual({ text: first.text, set: undefined })
    expect((await get('/quiet'))!.text).toBe('a')
    expect((await get('/quiet/x', `RAIN=${b.cookie}`))!.text).toBe('b')
    b.stop()
    expect(await get('/x', `RAIN=${b.cookie}`)).toEqual({ text: 'a', set: `RAIN=${a.cookie}` })
  })

  it.skipIf(noNginx)('is taken by nginx whatever the patterns are, and without any', async () => {
    const a = await aPage('a')
    for (const patterns of [[], ['/a"b\\c', '/{x}/$y/;/*', '/é']]) {
      const [port = 0] = await freePorts(1)
      await anNginx(nginxFile(answer(patterns.map(pattern => ({ pattern, servers: [a] }))), port))
    }
  })
})

describe('the files for Envoy', () => {
  it('name endpoints, clusters and routes, whole paths before prefixes', async () => {
    const a = await aPage('a')
    const routes = [
      { pattern: '/a', servers: [a] },
      { pattern: '/b/*', servers: [{ ...a, state: 'draining' as const, weight: 0 }] },
    ]
    const files = Object.fromEntries(
      Object.entries(envoyFiles(answer(routes), '/etc/envoy/rain')).map(([name, text]) => [name, JSON.parse(text)]),
    )
    const [config] = files['rds.json'].resources
    expect(config.virtual_hosts[0].routes.map((each: { match: object }) => each.match)).toEqual([
      { path: '/a' },
      { prefix: '/b/' },
      { path: '/b' },
    ])
    const endpoints = files['eds.json'].resources.map(
      (each: { endpoints: { lb_endpoints: object[] }[] }) => each.endpoints[0]!.lb_endpoints[0],
    )
    expect(endpoints).toMatchObject([{ load_balancing_weight: 100 }, { health_status: 'DRAINING' }])
    expect(files['cds.json'].resources.map((each: { name: string }) => each.name)).toEqual(['rain_1', 'rain_2'])
  })
})
