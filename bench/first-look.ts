/**
 * A first look at a whole cloud, as `rain up` runs it on one machine: how many instances are started a second, how many
 * answers come from a replica's memory, how many pages from HAProxy.
 *
 * Not measured: several machines (every process shares these cores with the client), large maps, state that is kept.
 */
import { fork, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { UpState } from '../src/cli/up/state.js'
import { finish, load, printTable, rounds, spreadOf } from './harness.js'

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const dataDir = mkdtempSync(join(tmpdir(), 'rain-bench-'))

async function freeBase(): Promise<number> {
  for (let base = 34_000; base < 60_000; base += 200) {
    const free = await Promise.all([0, 1, 2, 5, 10, 30, 50, 70, 90, 120].map(offset => isFree(base + offset)))
    if (free.every(Boolean)) return base
  }
  throw new Error('no free ports')
}

const isFree = (port: number): Promise<boolean> =>
  new Promise(resolve => {
    const server = createServer()
    server.once('error', () => resolve(false))
    server.listen({ port, host: '127.0.0.1', exclusive: true }, () => server.close(() => resolve(true)))
  })

function rain(...args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['dist/main.js', ...args], { stdio: ['ignore', 'ignore', 'inherit'] })
    child.once('exit', code => (code === 0 ? resolve() : reject(new Error(`rain ${args[0]} ended with ${code}`))))
  })
}

function startFloor(body: string): Promise<{ url: string; stop(): void }> {
  const file = join(dataDir, 'body.json')
  writeFileSync(file, body)
  const child = fork(fileURLToPath(new URL('./floors/fastify.js', import.meta.url)), [file])
  return new Promise(resolve => child.once('message', url => resolve({ url: String(url), stop: () => child.kill() })))
}

async function measure(state: UpState): Promise<void> {
  const headers = { user: state.tokens.operator, 'content-type': 'application/json' }
  const answer = await fetch(`${state.api}/replicas`, { headers })
  const { items } = (await answer.json()) as { items: { id: string; url: string; leader: boolean }[] }
  const leader = items.find(each => each.leader)!.url
  const other = items.find(each => !each.leader)?.url ?? leader
  const path = '/webcomponent/shop/1.0'
  const body = await (await fetch(other + path, { headers })).text()
  const floor = await startFloor(body)
  const page = await (await fetch(`${state.pages}/shop/index`)).text()
  const made = new Set([...page.matchAll(/data-rain-mothership="([^"]+)"/g)].map(each => each[1]))
  if (made.size < 2 || page.includes('data-rain-status')) throw new Error('the page is not whole')

  say('reads …')
  const get = (url: string, connections: number) => () =>
    load({
      url,
      headers,
      connections,
      ms: 2_000,
      check: (status, text) => status === 200 && (text === '' || text === body),
      checkEvery: 50,
    })
  const reads = await rounds(5, { floor: get(`${floor.url}/body`, 64), memory: get(other + path, 64) })
  floor.stop()

  say('pages …')
  const whole = (status: number, text: string): boolean =>
    status === 200 && (text === '' || (text.includes('Umbrella') && !text.includes('data-rain-status')))
  const pages = await rounds(5, {
    pages: () => load({ url: `${state.pages}/shop/index`, connections: 64, ms: 3_000, check: whole, checkEvery: 5 }),
  })

  say('instances …')
  const wish = JSON.stringify({ need: { cpu: 0, ram: 0, bandwidth: 0 }, placement: { copies: 1 } })
  let acknowledged = 0
  const start = (connections: number) => async () => {
    const url = `${other}/webcomponent/footer/1.0`
    const check = (status: number): boolean => status === 201
    const measured = await load({ url, method: 'POST', headers, body: wish, connections, ms: 2_000, check })
    acknowledged += measured.answers
    return measured
  }
  const before = await instances(leader, headers)
  const starts = await rounds(3, { one: start(1), many: start(64) })
  const after = await instances(leader, headers)
  if (after - before !== acknowledged) {
    throw new Error(`${acknowledged} instances were acknowledged, ${after - before} are in the map`)
  }

  const rows = {
    'instantiate, 1 connection': starts.get('one')!,
    'instantiate, 64 connections': starts.get('many')!,
    'GET a component, 64 connections': reads.get('memory')!,
    'bare fastify, same body': reads.get('floor')!,
    'sample page through HAProxy, 64': pages.get('pages')!,
  }
  printTable(Object.entries(rows).map(([name, runs]) => ({ name, runs })))
  const median = (runs: readonly { readonly rate: number }[]): number => spreadOf(runs.map(each => each.rate)).median
  const ratio = spreadOf(reads.get('memory')!.map((each, round) => each.rate / reads.get('floor')![round]!.rate))
  process.stdout.write(
    `GET is ${ratio.median.toFixed(2)} of bare fastify (${ratio.low.toFixed(2)} – ${ratio.high.toFixed(2)})\n`,
  )
  finish(
    'first-look',
    {
      instantiate1PerS: median(starts.get('one')!),
      instantiate1P50Ms: spreadOf(starts.get('one')!.map(each => each.p50Ms)).median,
      instantiate64PerS: median(starts.get('many')!),
      getPerS: median(reads.get('memory')!),
      fastifyPerS: median(reads.get('floor')!),
      getShareOfFastify: ratio.median,
      pagesPerS: median(pages.get('pages')!),
      pageP50Ms: spreadOf(pages.get('pages')!.map(each => each.p50Ms)).median,
    },
    {},
  )
}

async function instances(url: string, headers: Readonly<Record<string, string>>): Promise<number> {
  const answer = await fetch(`${url}/map?consistency=linearizable`, { headers })
  return ((await answer.json()) as { instances: number }).instances
}

say('starting a cloud …')
await rain('up', '--detach', '--data-dir', dataDir, '--port-base', String(await freeBase()))
try {
  await measure(JSON.parse(readFileSync(join(dataDir, 'up.json'), 'utf8')) as UpState)
} finally {
  await rain('down', '--data-dir', dataDir)
  rmSync(dataDir, { recursive: true, force: true })
}
