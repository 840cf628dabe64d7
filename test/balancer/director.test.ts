/** A real HAProxy: servers that come and go through the runtime API, patterns by a reload, deaths and left-overs. */

import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type Server } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { socketIn } from '../../src/balancer/agent.js'
import { Director } from '../../src/balancer/director.js'
import { ask, parseStats } from '../../src/balancer/runtime.js'
import { shapeOf, type WantedTargets, type Weights } from '../../src/balancer/shape.js'
import { dynamicCookie } from '../../src/cloud/routing/cookie.js'
import type { Clock } from '../../src/hypervisor/ports.js'
import { systemClock } from '../../src/main/world.js'
import { freePorts, waitUntil } from '../support/etcd.js'

const cleanups: (() => Promise<unknown> | undefined)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

const log = { info: () => undefined, warn: () => undefined, error: () => undefined }

interface Page {
  readonly id: string
  readonly port: number
  healthy: boolean
}

/** A rain server that says its name. */
async function aServer(id: string): Promise<Page> {
  const page = { id, port: 0, healthy: true }
  const server: Server = createServer((request, response) => {
    if (request.url === '/healthz') response.writeHead(page.healthy ? 200 : 503).end()
    else response.end(`${id} ${request.url}`)
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  page.port = (server.address() as { port: number }).port
  cleanups.push(() => {
    server.closeAllConnections()
    return new Promise<void>(resolve => server.close(() => resolve()))
  })
  return page
}

const wanted = (...servers: readonly [Page, readonly string[], boolean?][]): WantedTargets => ({
  servers: servers.map(([{ id, port }, urls, draining = false]) => ({ id, host: '127.0.0.1', port, urls, draining })),
  replicas: [],
})

interface Given {
  readonly directory?: string
  readonly clock?: Clock
  readonly program?: string
}

const aDirectory = (): string => mkdtempSync(join(tmpdir(), 'rain-haproxy-'))

async function aDirector(
  targets: WantedTargets,
  { directory = aDirectory(), clock = systemClock, program = 'haproxy' }: Given = {},
) {
  const [pagesPort = 0, apiPort = 0] = await freePorts(2)
  const [socket, metricsSocket] = [socketIn(directory), socketIn(directory, 'metrics')]
  const frame = { host: '127.0.0.1', pagesPort, apiPort, socket, metricsSocket, directory, cookieKey: 'k' }
  let shape = shapeOf(targets, 4)
  const director = new Director({ program, frame, clock, log }, shape)
  await director.start()
  cleanups.push(async () => {
    await director.stop()
    rmSync(directory, { recursive: true, force: true })
  })
  const get = async (path: string, headers: Record<string, string> = {}) => {
    const answer = await fetch(`http://127.0.0.1:${pagesPort}${path}`, { headers: { connection: 'close', ...headers } })
    return { status: answer.status, text: await answer.text(), cookie: answer.headers.getSetCookie()[0]?.split(';')[0] }
  }
  return {
    director,
    frame,
    get,
    apply: (next: WantedTargets, weights?: Weights) => director.apply((shape = shapeOf(next, 4, shape, weights))),
    up: async () => parseStats(await ask(frame.socket, 'show stat')).filter(each => each.up).length,
  }
}

/** HAProxy refuses this. */
const bad: WantedTargets = {
  servers: [{ id: 'bad', host: 'not an address', port: 1, urls: ['/*', '/bad/*'], draining: false }],
  replicas: [],
}

const names = async (get: (path: string) => Promise<{ text: string }>, path: string): Promise<string[]> => {
  const found = new Set<string>()
  for (let i = 0; i < 12; i++) found.add((await get(path)).text.split(' ')[0]!)
  return [...found].sort()
}

describe('a director', () => {
  it('takes servers in and out through the runtime API, without a reload', async () => {
    const [a, b] = [await aServer('a'), await aServer('b')]
    const { director, get, apply } = await aDirector(wanted([a, ['/*']]))
    expect(await names(get, '/x')).toEqual(['a'])
    await apply(wanted([a, ['/*']], [b, ['/*']]))
    await waitUntil('both serve', async () => (await names(get, '/x')).join() === 'a,b')
    await apply(wanted([b, ['/*']]))
    expect(await names(get, '/x')).toEqual(['b'])
    expect(director.counts).toMatchObject({ reloads: 0, runtime: 2 })
  })

  it('sends each path to the servers of the most specific pattern; nobody is told plainly', async () => {
    const [a, b] = [await aServer('a'), await aServer('b')]
    const { director, frame, get, apply } = await aDirector(wanted([a, ['/news/*']]))
    expect((await get('/shop/x')).status).toBe(503)
    expect((await get('/news')).text).toBe('a /news')
    await apply(wanted([a, ['/news/*']], [b, ['/shop/*', '/news/today']]))
    // Each server begins in each group with its first check.
    await waitUntil('b serves', async () => (await get('/shop/x')).text === 'b /shop/x')
    await waitUntil('both serve', async () => (await names(get, '/news/today')).join() === 'a,b')
    expect(await names(get, '/news/other')).toEqual(['a'])
    await apply(wanted([a, ['/news/*']], [b, ['/news/today']]))
    expect((await get('/shop/x')).status).toBe(503)
    expect(director.counts).toMatchObject({ reloads: 0, runtime: 2 })
    expect(readFileSync(join(frame.directory, 'paths.map'), 'utf8')).toBe('/news pages-1\n/news/today pages-2\n')
  })

  it('reloads when there are more patterns than it made room for, and goes on without', async () => {
    const a = await aServer('a')
    const { director, get, apply } = await aDirector(wanted([a, ['/*']]))
    const patterns = Array.from({ length: 9 }, (_, index) => `/p${index}/*`)
    await apply(wanted([a, patterns]))
    expect(director.counts).toMatchObject({ reloads: 1 })
    for (const each of patterns) expect((await get(`${each.slice(0, -1)}x`)).status).toBe(200)
    expect((await get('/x')).status).toBe(503)
    await apply(wanted([a, [...patterns, '/*', '/odd\\;"path']]))
    expect((await get('/odd\\;"path'.replace('"', '%22'))).status).toBe(200)
    expect(director.counts).toMatchObject({ reloads: 1 })
  })

  it('sends nothing to a server before its first check says yes, not even right after a reload', async () => {
    const [a, b] = [await aServer('a'), await aServer('b')]
    b.healthy = false
    const { director, get, apply, up } = await aDirector(wanted([a, ['/*']]))
    await apply(wanted([a, ['/*']], [b, ['/*']]))
    expect(await names(get, '/x')).toEqual(['a'])
    const many = Array.from({ length: 9 }, (_, index) => `/p${index}/*`)
    await apply(wanted([a, ['/*']], [b, ['/*', ...many]]))
    expect(director.counts.reloads).toBe(1)
    expect(await names(get, '/p1/x')).toEqual(['a'])
    expect(await up()).toBe(10)
    b.healthy = true
    await waitUntil('both serve', async () => (await names(get, '/p1/x')).join() === 'a,b')
  })

  it('gives a server the share that its weight says, also after a reload and after it drained', async () => {
    const [a, b] = [await aServer('a'), await aServer('b')]
    const { director, frame, get, apply } = await aDirector(wanted([a, ['/*']], [b, ['/*']]))
    const shares = async (): Promise<string> => {
      const counts = { a: 0, b: 0 }
      for (let i = 0; i < 60; i++) counts[(await get('/x')).text[0] as 'a' | 'b']++
      return `${Math.round(counts.a / 10)}:${Math.round(counts.b / 10)}`
    }
    const weights = new Map([
      ['a', 50],
      ['b', 250],
    ])
    await apply(wanted([a, ['/*']], [b, ['/*']]), weights)
    expect(await shares()).toBe('1:5')
    const many = Array.from({ length: 9 }, (_, index) => `/p${index}/*`)
    await apply(wanted([a, ['/*', ...many]], [b, ['/*']]), weights)
    expect(director.counts).toMatchObject({ runtime: 1, reloads: 1 })
    await waitUntil('the old process is gone', async () => (await shares()) === '1:5')
    await apply(wanted([a, ['/*', ...many]], [b, ['/*'], true]), weights)
    expect(await shares()).toBe('6:0')
    await apply(wanted([a, ['/*', ...many]], [b, ['/*']]), weights)
    expect(await shares()).toBe('1:5')
    expect(readFileSync(join(frame.directory, 'haproxy.cfg'), 'utf8')).toContain('check weight 250 # b')
  })

  it('works in a directory of whatever name', async () => {
    const a = await aServer('a')
    for (const name of [`näh, "e's" (\\$x)`, '雨'.repeat(30)]) {
      const directory = join(aDirectory(), name)
      mkdirSync(directory)
      const { get } = await aDirector(wanted([a, ['/news/*']]), { directory })
      expect((await get('/news/x')).text).toBe('a /news/x')
    }
  })

  it('keeps a client with its server by a cookie, whatever slot that has, and across a reload', async () => {
    const servers = await Promise.all(['a', 'b', 'c'].map(aServer))
    const all = servers.map(each => [each, ['/*']] as [Page, string[]])
    const { director, get, apply } = await aDirector(wanted(...all))
    const first = await get('/x')
    expect(first.cookie).toMatch(/^RAIN=\w+/)
    const sticky = async (): Promise<string[]> => names(path => get(path, { cookie: first.cookie! }), '/x')
    const own = first.text.split(' ')[0]!
    expect(await sticky()).toEqual([own])
    const port = servers.find(each => each.id === own)!.port
    expect(first.cookie).toBe(`RAIN=${dynamicCookie('k', '127.0.0.1', port)}`)
    const many = Array.from({ length: 9 }, (_, index) => `/p${index}/*`)
    await apply(wanted(...all.map(([each]) => [each, ['/*', ...many]] as [Page, string[]])))
    expect(director.counts.reloads).toBe(1)
    expect(await sticky()).toEqual([own])
  })

  it('leaves out a server that is not healthy, and a draining one for who is new', async () => {
    const [a, b] = [await aServer('a'), await aServer('b')]
    const { get, apply } = await aDirector(wanted([a, ['/*']], [b, ['/*']]))
    a.healthy = false
    await waitUntil('only b serves', async () => (await names(get, '/x')).join() === 'b')
    a.healthy = true
    await waitUntil('both serve', async () => (await names(get, '/x')).join() === 'a,b')
    await apply(wanted([a, ['/*']], [b, ['/*'], true]))
    expect(await names(get, '/x')).toEqual(['a'])
  })

  it('loses no request while servers and patterns change', async () => {
    const [a, b] = [await aServer('a'), await aServer('b')]
    const { frame, apply } = await aDirector(wanted([a, ['/*']]))
    let going = true
    const statuses = new Map<number, number>()
    const ask = async (): Promise<void> => {
      while (going) {
        const { status } = await fetch(`http://127.0.0.1:${frame.pagesPort}/x`)
        statuses.set(status, (statuses.get(status) ?? 0) + 1)
      }
    }
    const asking = [ask(), ask(), ask()]
    await apply(wanted([a, ['/*']], [b, ['/*']]))
    await apply(wanted([a, ['/*']], [b, ['/*', '/more/*']]))
    await apply(wanted([b, ['/*', '/more/*']]))
    await apply(wanted([a, ['/*']], [b, ['/*']]))
    going = false
    await Promise.all(asking)
    expect([...statuses.keys()]).toEqual([200])
    expect(statuses.get(200)).toBeGreaterThan(10)
  })

  for (const which of ['master', 'worker'] as const) {
    it(`starts HAProxy again when its ${which} died, with what is wanted now`, async () => {
      const a = await aServer('a')
      const { director, frame, get } = await aDirector(wanted([a, ['/*']]))
      const before = director.pid!
      const worker = Number(/^Pid: (\d+)/m.exec(await ask(frame.socket, 'show info'))![1])
      process.kill(which === 'master' ? before : worker, 'SIGKILL')
      await waitUntil('another one serves', async () => {
        if (director.pid === undefined || director.pid === before) return false
        return (await get('/x').catch(() => undefined))?.status === 200
      })
      expect(director.counts.restarts).toBe(1)
    })
  }

  it('takes over from a HAProxy that an earlier agent left behind, without a refused connection', async () => {
    const a = await aServer('a')
    const directory = aDirectory()
    const first = await aDirector(wanted([a, ['/*']]), { directory })
    const left = Number(readFileSync(join(directory, 'haproxy.pid'), 'utf8'))
    expect(left).toBe(first.director.pid)
    const shape = shapeOf(wanted([a, ['/*']]), 4)
    const second = new Director({ program: 'haproxy', frame: first.frame, clock: systemClock, log }, shape)
    let refused = 0
    let going = true
    const asking = (async () => {
      while (going) {
        const answer = await first.get('/x').catch(() => undefined)
        if (answer?.status !== 200) refused++
      }
    })()
    await second.start()
    cleanups.push(() => second.stop())
    going = false
    await asking
    expect(refused).toBe(0)
    expect(second.pid).not.toBe(left)
  })

  it('never loads what HAProxy refuses: the last good configuration goes on', async () => {
    const a = await aServer('a')
    const { director, get, apply } = await aDirector(wanted([a, ['/*']]))
    await expect(apply(bad)).rejects.toThrow('HAProxy refuses its configuration')
    expect((await get('/x')).text).toBe('a /x')
    expect(director.counts.failures).toBe(1)
  })

  it('starts HAProxy again with the last good configuration when it dies after one that it refused', async () => {
    const a = await aServer('a')
    const { director, get, apply } = await aDirector(wanted([a, ['/*']]))
    await expect(apply(bad)).rejects.toThrow('HAProxy refuses its configuration')
    const before = director.pid!
    process.kill(before, 'SIGKILL')
    await waitUntil('another one serves', async () => {
      if (director.pid === undefined || director.pid === before) return false
      return (await get('/x').catch(() => undefined))?.text === 'a /x'
    })
    await apply(wanted([a, ['/*', '/more/*']]))
    expect((await get('/more/x')).text).toBe('a /more/x')
  })

  it('takes what is wanted in the moment in which HAProxy is started again', async () => {
    const [a, b] = [await aServer('a'), await aServer('b')]
    const held: (() => void)[] = []
    const clock: Clock = {
      ...systemClock,
      after: (ms, run) => {
        if (ms !== 500) return systemClock.after(ms, run)
        held.push(run)
        return () => undefined
      },
    }
    const { director, get, apply } = await aDirector(wanted([a, ['/*']]), { clock })
    process.kill(director.pid!, 'SIGKILL')
    await waitUntil('it is to be started again', async () => held.length > 0)
    held[0]!()
    await apply(wanted([b, ['/*']]))
    await waitUntil('b serves', async () => (await names(get, '/x').catch(() => [])).join() === 'b')
  })

  it('tries again when a reload does not come about', async () => {
    const a = await aServer('a')
    const directory = aDirectory()
    // Finds nothing wrong with any configuration.
    const program = join(directory, 'careless')
    writeFileSync(program, '#!/bin/sh\n[ "$1" = -c ] && exit 0\nexec haproxy "$@"\n', { mode: 0o755 })
    const clock: Clock = {
      ...systemClock,
      nowMs: () => systemClock.nowMs() * 5,
      after: (ms, run) => systemClock.after(ms / 5, run),
    }
    const { director, get, apply } = await aDirector(wanted([a, ['/*']]), { directory, clock, program })
    await expect(apply(bad)).rejects.toThrow('did not reload')
    expect(director.counts).toMatchObject({ reloads: 0, failures: 1 })
    await waitUntil('it was tried again', async () => director.counts.failures > 1)
    expect((await get('/x')).text).toBe('a /x')
    await apply(wanted([a, ['/*', '/more/*']]))
    expect((await get('/more/x')).text).toBe('a /more/x')
  })

  it('tries to start HAProxy one time after the other, however often that fails', async () => {
    const directory = aDirectory()
    const broken = join(directory, 'broken')
    const program = join(directory, 'sometimes')
    writeFileSync(program, `#!/bin/sh\n[ "$1" = -W ] && [ -e ${broken} ] && exit 1\nexec haproxy "$@"\n`, {
      mode: 0o755,
    })
    const waiting = new Set<object>()
    let most = 0
    const after: Clock['after'] = (ms, run) => {
      const timer = {}
      if (ms >= 500 && ms <= 1_000) waiting.add(timer)
      most = Math.max(most, waiting.size)
      const ended = (): boolean => waiting.delete(timer)
      const cancel = systemClock.after(ms / 50, () => [ended(), run()])
      return () => [ended(), cancel()]
    }
    const a = await aServer('a')
    const { director, get } = await aDirector(wanted([a, ['/*']]), {
      directory,
      program,
      clock: { ...systemClock, after },
    })
    writeFileSync(broken, '')
    process.kill(director.pid!, 'SIGKILL')
    await waitUntil('it was tried some times', async () => director.counts.restarts > 4)
    expect(most).toBe(1)
    rmSync(broken)
    await waitUntil('it serves', async () => (await get('/x').catch(() => undefined))?.text === 'a /x')
  })

  it('leaves nothing behind when HAProxy cannot be started at first', async () => {
    const directory = aDirectory()
    const program = join(directory, 'broken')
    writeFileSync(program, '#!/bin/sh\n[ "$1" = -W ] && exit 1\nexit 0\n', { mode: 0o755 })
    const restarts = new Set<object>()
    const after: Clock['after'] = (ms, run) => {
      const cancel = systemClock.after(ms, run)
      if (ms !== 500) return cancel
      restarts.add(cancel)
      return () => [restarts.delete(cancel), cancel()]
    }
    const clock = { ...systemClock, after }
    await expect(aDirector(wanted(), { directory, clock, program })).rejects.toThrow('does not start')
    expect(restarts.size).toBe(0)
    rmSync(directory, { recursive: true })
  })
})
