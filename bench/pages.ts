/**
 * Pages of k fragments from three servers, each fragment made after a timer of 50 ms: how long they take at a low rate,
 * and what the process that puts them together spends on each, beside Podium and OpenComponents with the same fragments,
 * and beside a server of node's own that has the pages finished (`bare`: no page costs less).
 * `-- --own` leaves the peers out. Not measured: the network, what makes the fragments, caches (there are none here).
 */
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { freePorts } from '../test/support/etcd.js'
import { bar, finish, spreadOf } from './harness.js'
import { type Answered, atOnce, atRate, PageClient, quantile } from './pages/client.js'
import { PageCloud } from './pages/cloud.js'
import { countOf, ownFragment, partsOf, sizes } from './pages/parts.js'
import { type Peer, startPeers } from './pages/peers.js'
import { Running } from './pages/process.js'

const timerMs = 50
const [perSecond, pagesAtRate] = [10, 120]
const [connections, loadMs, rounds] = [10, 3_000, 5]
/** Of each system, before what it spends is measured. */
const warmMs = 8_000
const peersDirectory = join(process.cwd(), 'bench', 'peers')

interface System {
  readonly name: string
  readonly aggregator: Running
  url(k: number): string
}

const client = new PageClient()
const own = process.argv.includes('--own') || !existsSync(peersDirectory)
const { fragmentHtml } = own
  ? { fragmentHtml: ownFragment }
  : ((await import(join(peersDirectory, 'fragment.mjs'))) as { fragmentHtml: (n: number) => string })
const cloud = await PageCloud.start(partsOf(fragmentHtml, timerMs))
const peers: Peer[] = own ? [] : await startPeers(peersDirectory, timerMs)
const [floorPort] = await freePorts(1)
const ownModule = own ? [] : [join(peersDirectory, 'fragment.mjs')]
const floorArgs = [fileURLToPath(new URL('./floors/pages.js', import.meta.url)), String(floorPort), String(timerMs)]
const floor = await Running.start([...floorArgs, ...ownModule], /^ready$/m)
const systems: System[] = [
  { name: 'rain', aggregator: cloud.server, url: k => `${cloud.url}/page/k${k}` },
  ...peers.map(({ name, page, port }) => ({
    name,
    aggregator: page,
    url: (k: number) => `http://127.0.0.1:${port}/page/${k}`,
  })),
  { name: 'bare', aggregator: floor, url: k => `http://127.0.0.1:${floorPort}/page/${k}` },
]
const figures: Record<string, number> = {}

const whole =
  (k: number) =>
  ({ status, body }: Answered): void => {
    if (status !== 200 || countOf(body) !== k) throw new Error(`not a page of ${k}: ${status} ${body.slice(0, 500)}`)
  }

const line = (cells: readonly (string | number)[]): void => {
  const shown = cells.map(each => (typeof each === 'number' ? each.toFixed(2) : each))
  process.stdout.write(`${shown.map((each, i) => (i === 0 ? each.padEnd(24) : each.padStart(12))).join('')}\n`)
}

try {
  line(['at 10 pages/s', 'k', 'p50 ms', 'p99 ms', 'first ms'])
  for (const k of sizes) {
    for (const { name, url } of systems) {
      const ask = (): Promise<Answered> => client.ask(url(k))
      await atRate(20, 20, ask, whole(k))
      const { lastMs, answers } = await atRate(perSecond, pagesAtRate, ask, whole(k))
      const first = quantile(
        answers.map(each => each.firstMs).sort((a, b) => a - b),
        0.5,
      )
      const [p50, p99] = [quantile(lastMs, 0.5), quantile(lastMs, 0.99)]
      line([name, k, p50, p99, first])
      Object.assign(figures, { [`${name}_${k}_p50_ms`]: p50, [`${name}_${k}_p99_ms`]: p99 })
    }
  }
  // Node compiles what it has done often: at so few pages a second it would still be at that after a minute.
  for (const { url } of systems) await atOnce(20, warmMs, () => client.ask(url(20)), whole(20))
  line(['10 at once', 'k', 'pages/s', 'p99 ms', 'cpu ms/page', 'lowest', 'highest'])
  for (const k of [5, 20, 50]) {
    const found = new Map(systems.map(each => [each.name, { rate: [], p99: [], cpu: [] as number[] } as Rows]))
    for (let round = 0; round <= rounds; round++) {
      for (const { name, url, aggregator } of systems) {
        const before = aggregator.cpuMs()
        const { lastMs, seconds } = await atOnce(connections, loadMs, () => client.ask(url(k)), whole(k))
        const spent = aggregator.cpuMs() - before
        // The first round of each size warms up, too.
        if (round === 0) continue
        const rows = found.get(name)!
        rows.rate.push(lastMs.length / seconds)
        rows.p99.push(quantile(lastMs, 0.99))
        rows.cpu.push(spent / lastMs.length)
      }
    }
    for (const [name, { rate, p99, cpu }] of found) {
      const spread = spreadOf(cpu)
      line([name, k, spreadOf(rate).median, spreadOf(p99).median, spread.median, spread.low, spread.high])
      Object.assign(figures, {
        [`${name}_${k}_pages_per_s`]: spreadOf(rate).median,
        [`${name}_${k}_load_p99_ms`]: spreadOf(p99).median,
        [`${name}_${k}_cpu_ms`]: spread.median,
      })
    }
  }
  const ratio = (peer: string, k: number): number => figures[`rain_${k}_cpu_ms`]! / figures[`${peer}_${k}_cpu_ms`]!
  finish('pages', figures, {
    ...Object.fromEntries(
      sizes.map(k => [
        `p99_${k}_ms`,
        bar(figures[`rain_${k}_p99_ms`]!, Number((1.3 * timerMs + 0.2 * k).toFixed(1)), 'atMost'),
      ]),
    ),
    ...Object.fromEntries(
      peers.flatMap(({ name }) =>
        [5, 20, 50].map(k => [`cpu_of_${name}_${k}`, bar(ratio(name, k), Number((1 / 3).toFixed(4)), 'atMost')]),
      ),
    ),
  })
} finally {
  client.close()
  await floor.end()
  for (const each of peers) await each.stop()
  await cloud.stop()
}

interface Rows {
  readonly rate: number[]
  readonly p99: number[]
  readonly cpu: number[]
}
