/**
 * The balancer: whether changes of HAProxy cost requests, and what they cost those that come through. First a real HAProxy
 * with stand-ins for rain servers (in a process of their own), over kept connections and new ones, with some websockets
 * open: quiet, then with ten changes a second through the runtime API (servers, weights, patterns), then with a reload a
 * second, each for as long as so many requests take. Then a whole cloud (`rain up`), whose rain servers are killed
 * (SIGKILL) one after the other while it is asked for a page.
 *
 * Checked: every answer is a page of a server that was wanted; at least half of the changes, and of the reloads, came about
 * (what waits for another one is done together with the next: how many there were is told); a websocket that was cut is
 * counted; each killed rain server took requests before, and is back afterwards.
 *
 * Not measured: HAProxy's own limits (the client is Node, and shares the cores), several balancers, TLS.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import WebSocket from 'ws'
import { socketIn } from '../src/balancer/agent.js'
import { Director } from '../src/balancer/director.js'
import { type Shape, shapeOf, type WantedTargets } from '../src/balancer/shape.js'
import { systemClock } from '../src/main/world.js'
import { bar, finish } from './harness.js'
import { ask, type Counted, quantile } from './support/counting.js'
import { type StandIns, startStandIns } from './support/stand-ins.js'
import { startWholeCloud, type WholeCloud } from './support/whole-cloud.js'

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const option = (name: string): string | undefined =>
  process.argv.find(each => each.startsWith(`--${name}=`))?.slice(name.length + 3)
const requests = Number(option('requests') ?? 100_000)
const kills = Number(option('kills') ?? 10)
const kept = 12
const anew = 4
const websockets = 10
/** Of each connection: some 1,600 requests a second of all together, which leaves room on two cores. */
const askEveryMs = 10
const everyMs = { runtime: 100, reloads: 1_000 }
type Way = keyof typeof everyMs
const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
const log = { info: () => undefined, warn: () => undefined, error: () => undefined }

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise(resolve => server.close(resolve))
  return port
}

/** The first two are always there; the others come and go, as a pattern does. */
function wanted({ ports }: StandIns, step: number): WantedTargets {
  const there = ports.filter((_, index) => index < 2 || (step + index) % 3 > 0)
  const urls = step % 2 === 0 ? ['/*'] : ['/*', '/page/*']
  return {
    servers: there.map(port => ({ id: `r${port}`, host: '127.0.0.1', port, draining: false, urls })),
    replicas: [],
  }
}

const weightsAt = ({ ports }: StandIns, step: number): Map<string, number> =>
  new Map(ports.map((port, index) => [`r${port}`, 50 + ((step * 37 + index * 11) % 150)]))

class Changes {
  #step = 0
  #shape: Shape
  #stopped = false
  #running: Promise<void> | undefined
  failed = 0

  constructor(
    private readonly director: Director,
    private readonly standIns: StandIns,
    shape: Shape,
    private readonly way: Way,
  ) {
    this.#shape = shape
  }

  start(): void {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  async #run(): Promise<void> {
    const under = new Set<Promise<void>>()
    while (!this.#stopped) {
      const change = this.director.apply(this.#next()).catch(() => void this.failed++)
      under.add(change)
      void change.then(() => under.delete(change))
      await pause(everyMs[this.way])
    }
    await Promise.all(under)
  }

  #next(): Shape {
    const step = ++this.#step
    const [targets, weights] = [wanted(this.standIns, step), weightsAt(this.standIns, step)]
    // Another number of slots is what only a reload can make.
    if (this.way === 'reloads') return shapeOf(targets, step % 2 === 0 ? 8 : 16, undefined, weights)
    this.#shape = shapeOf(targets, 8, this.#shape, weights)
    return this.#shape
  }
}

/** Each says something twice a second, and has it echoed. */
class Talkers {
  cut = 0
  said = 0
  readonly #sockets: WebSocket[] = []

  async open(port: number): Promise<void> {
    for (let number = 0; number < websockets; number++) {
      const socket = new WebSocket(`ws://127.0.0.1:${port}/live`)
      await new Promise((resolve, reject) => socket.once('open', resolve).once('error', reject))
      socket.on('message', () => void this.said++)
      socket.on('close', () => void this.cut++)
      const timer = setInterval(() => socket.send('still there?'), 500)
      socket.once('close', () => clearInterval(timer))
      this.#sockets.push(socket)
    }
  }

  close(): { cut: number; said: number } {
    const { cut, said } = this
    for (const each of this.#sockets) each.terminate()
    return { cut, said }
  }
}

interface Changing {
  readonly counted: Counted
  readonly perSecond: number
}

async function withHaproxy() {
  const directory = mkdtempSync(join(tmpdir(), 'rain-bench-haproxy-'))
  const standIns = await startStandIns(5)
  const [pagesPort, apiPort] = [await freePort(), await freePort()]
  const [socket, metricsSocket] = [socketIn(directory), socketIn(directory, 'metrics')]
  const frame = { host: '127.0.0.1', pagesPort, apiPort, socket, metricsSocket, directory, cookieKey: 'bench' }
  const shape = shapeOf(wanted(standIns, 0), 8)
  const director = new Director({ program: 'haproxy', frame, clock: systemClock, log }, shape)
  await director.start()
  const talkers = new Talkers()
  try {
    await talkers.open(pagesPort)
    const run = (count: number): Promise<Counted> =>
      ask({
        url: `http://127.0.0.1:${pagesPort}/page/x`,
        kept,
        anew,
        everyMs: askEveryMs,
        wrong: (status, body) => (status === 200 && /^page of \d$/.test(body) ? undefined : `${status} ${body}`),
        going: answers => answers < count,
      })
    await run(Math.min(5_000, requests))
    say('quiet …')
    const quiet = await run(requests)
    const changing = async (way: Way): Promise<Changing> => {
      say(`with changes: ${way} …`)
      const changes = new Changes(director, standIns, shape, way)
      const before = director.counts[way]
      const fromMs = performance.now()
      changes.start()
      const counted = await run(requests)
      const perSecond = (director.counts[way] - before) / ((performance.now() - fromMs) / 1000)
      await changes.stop()
      if (changes.failed > 0) throw new Error(`${changes.failed} changes failed`)
      if (perSecond < 500 / everyMs[way]) throw new Error(`only ${perSecond.toFixed(2)} changes a second: ${way}`)
      return { counted, perSecond }
    }
    const runtime = await changing('runtime')
    const reloads = await changing('reloads')
    return { quiet, runtime, reloads, talked: talkers.close() }
  } finally {
    talkers.close()
    await director.stop()
    standIns.close()
    rmSync(directory, { recursive: true, force: true })
  }
}

async function until(what: string, check: () => Promise<boolean>): Promise<void> {
  for (const untilMs = performance.now() + 30_000; !(await check()); await pause(50)) {
    if (performance.now() > untilMs) throw new Error(`not in time: ${what}`)
  }
}

/** Sessions that each rain server has had since the last reload, by the agent's metrics. */
async function taken(cloud: WholeCloud): Promise<Map<string, number>> {
  const answer = await fetch(`http://127.0.0.1:${cloud.portBase + 5}/metrics`)
  const rows = (await answer.text()).matchAll(
    /^rain_balancer_server_requests\{pattern="\/\*",server="(\w+)"\} (\d+)$/gm,
  )
  return new Map([...rows].map(([, id = '', count]) => [id, Number(count)]))
}

async function isUp(cloud: WholeCloud, id: string): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${cloud.portBase + 5}/metrics`)
  return (await answer.text()).includes(`rain_balancer_server_up{pattern="/*",server="${id}"} 1`)
}

interface Killed {
  readonly answers: number
  /** The most that one connection saw of one kill. */
  readonly mostPerConnection: number
  readonly failures: number
  readonly afterASecond: number
}

async function killsInACloud(): Promise<Killed> {
  const cloud = await startWholeCloud(21_000, '--etcd', '1', '--replicas', '1')
  const found = { answers: 0, mostPerConnection: 0, failures: 0, afterASecond: 0 }
  try {
    for (let number = 0; number < kills; number++) {
      const servers = cloud.state().rainServers
      const { id, pid } = servers[number % servers.length]!
      const one = await killUnderLoad(cloud, id, pid)
      found.answers += one.answers
      found.failures += one.failures
      found.afterASecond += one.afterASecond
      found.mostPerConnection = Math.max(found.mostPerConnection, one.mostPerConnection)
      say(`${number + 1} of ${kills} kills: ${one.failures} of ${one.answers} failed`)
    }
  } finally {
    await cloud.close()
  }
  return found
}

async function killUnderLoad(cloud: WholeCloud, id: string, pid: number): Promise<Killed> {
  let going = true
  const before = await taken(cloud)
  const asking = ask({
    url: `${cloud.state().pages}/footer/index`,
    kept,
    anew,
    everyMs: askEveryMs,
    wrong: (status, body) =>
      status === 200 && body.includes('data-rain-component="footer"') ? undefined : `${status} ${body.slice(0, 80)}`,
    going: () => going,
  })
  await until(`${id} takes requests`, async () => ((await taken(cloud)).get(id) ?? 0) > (before.get(id) ?? 0) + 20)
  const atMs = performance.now()
  process.kill(pid, 'SIGKILL')
  await pause(3_000)
  going = false
  const { answers, failures } = await asking
  for (const each of failures.slice(0, 3)) say(`  ${Math.round(each.atMs - atMs)} ms after the kill: ${each.why}`)
  const perLoop = new Map<number, number>()
  for (const { loop } of failures) perLoop.set(loop, (perLoop.get(loop) ?? 0) + 1)
  await until(`${id} is another process`, async () => {
    const now = cloud.state().rainServers.find(each => each.id === id)!.pid
    return now > 0 && now !== pid
  })
  await until(`${id} is back`, () => isUp(cloud, id))
  return {
    answers,
    failures: failures.length,
    mostPerConnection: Math.max(0, ...perLoop.values()),
    afterASecond: failures.filter(each => each.atMs > atMs + 1_000).length,
  }
}

const { quiet, runtime, reloads, talked } = await withHaproxy()
for (const each of [...runtime.counted.failures, ...reloads.counted.failures].slice(0, 5)) say(`failed: ${each.why}`)
if (quiet.failures.length > 0) throw new Error(`a quiet HAProxy failed: ${quiet.failures[0]!.why}`)
if (talked.said === 0) throw new Error('the websockets said nothing')
const killed = await killsInACloud()

const at = (counted: Counted, share: number): string => quantile(counted.times, share).toFixed(2)
say('')
say('                       a second   requests     failed     p50 ms     p99 ms')
for (const [name, each, perSecond] of [
  ['quiet', quiet, 0],
  ['runtime changes', runtime.counted, runtime.perSecond],
  ['reloads', reloads.counted, reloads.perSecond],
] as const) {
  const cells = [perSecond.toFixed(1), each.answers, each.failures.length, at(each, 0.5), at(each, 0.99)]
  say(`${name.padEnd(20)}${cells.map(cell => String(cell).padStart(11)).join('')}`)
}
say(`${talked.cut} of ${websockets} websockets cut`)
say(`${kills} rain servers killed: ${killed.failures} of ${killed.answers} requests failed`)

finish(
  'balancer',
  {
    requestsEach: requests,
    runtimeChangesPerSecond: runtime.perSecond,
    reloadsPerSecond: reloads.perSecond,
    quietP50Ms: quantile(quiet.times, 0.5),
    quietP99Ms: quantile(quiet.times, 0.99),
    runtimeP99Ms: quantile(runtime.counted.times, 0.99),
    reloadsP99Ms: quantile(reloads.counted.times, 0.99),
    websocketsCut: talked.cut,
    kills,
    killRequests: killed.answers,
    killFailures: killed.failures,
  },
  {
    failedByRuntimeChanges: bar(runtime.counted.failures.length, 0, 'atMost'),
    failedByReloads: bar(reloads.counted.failures.length, 0, 'atMost'),
    failedPerConnectionAndKill: bar(killed.mostPerConnection, 1, 'atMost'),
    failedASecondAfterKill: bar(killed.afterASecond, 0, 'atMost'),
  },
)
