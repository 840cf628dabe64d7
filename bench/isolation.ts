/**
 * What a component that misbehaves does to the others on its mothership: loops for ever, leaks, crashes or ends its
 * process, again and again. Ten quiet components are asked for fragments at a steady rate; each window with the bad
 * neighbour stands beside one in which it does nothing. Latency counts from when a call was due, not from when it was
 * sent, so nothing is left out while the mothership stands still.
 *
 * Not measured: rain servers and pages (they have deadlines and other copies besides), several bad neighbours at once.
 */
import type { WantedInstance } from '../src/protocol/messages.js'
import { type Bar, bar, finish, type Spread, spreadOf } from './harness.js'
import { type Answer, BenchMothership } from './support/mothership.js'

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
const [quiet, roundCount, windowMs, everyMs] = [10, 7, 4_000, 5]
const modes = ['loop', 'leak', 'crash', 'exit'] as const
type Mode = (typeof modes)[number]
const bad = 'bad.0'

const quietData = `
  exports.index = (environment, callback) => {
    const items = []
    for (let i = 0; i < 20; i++) items.push({ name: 'item ' + i, price: i * 7 })
    callback(null, { title: environment.instance, items })
  }
`
const badData = `
  exports.index = (environment, callback) => callback(null, { title: 'well' })
  exports.loop = () => { for (;;); }
  exports.leak = () => {
    const kept = []
    setInterval(() => kept.push(Buffer.alloc(2_000_000, 1), new Array(50_000).fill(kept.length + 0.5)), 10)
  }
  exports.crash = () => { setTimeout(() => { throw new Error('a crash') }) }
  exports.exit = () => process.exit(0)
`
const list = '<h1>{{title}}</h1><ul>{{#each items}}<li>{{name}}: {{price}}</li>{{/each}}</ul>'

const wanted = (component: string, digest: string, generation: number): WantedInstance => ({
  component,
  version: '1.0.0',
  digest,
  size: 1,
  role: 'primary',
  epoch: 1,
  generation,
  isolation: 'shared',
  need: { cpu: 50, ram: 32, bandwidth: 100 },
})

interface Window {
  readonly p50Ms: number
  readonly p99Ms: number
}

/** Fragments of the quiet ones at a steady rate, for as long as a window is. */
async function window(mothership: BenchMothership): Promise<Window> {
  const times: number[] = []
  const answers: Promise<void>[] = []
  const fromMs = performance.now()
  for (let n = 0; n * everyMs < windowMs; n++) {
    const dueMs = fromMs + n * everyMs
    if (performance.now() < dueMs) await pause(dueMs - performance.now())
    answers.push(
      mothership.render(`part${n % quiet}.0`).then(answer => {
        whole(answer)
        times.push(performance.now() - dueMs)
      }),
    )
  }
  await Promise.all(answers)
  times.sort((a, b) => a - b)
  return { p50Ms: times[Math.floor(times.length / 2)]!, p99Ms: times[Math.floor(times.length * 0.99)]! }
}

function whole(answer: Answer): void {
  if (answer.t !== 'fragment' || !answer.html.includes('item 19: 133')) {
    throw new Error(`not the fragment that was wanted: ${JSON.stringify(answer).slice(0, 300)}`)
  }
}

/** Has it misbehave whenever it runs, until it is stopped. */
function misbehave(mothership: BenchMothership, mode: Mode): { count(): number; stop(): Promise<void> } {
  let [deaths, stopped] = [0, false]
  const going = (async () => {
    while (!stopped) {
      const answer = await mothership.render(bad, mode, 15_000)
      if (answer.t !== 'failed') throw new Error(`${mode} was answered: ${JSON.stringify(answer).slice(0, 300)}`)
      if (answer.status === 502) deaths++
      await pause(20)
    }
  })()
  return {
    count: () => deaths,
    stop: () => {
      stopped = true
      return going
    },
  }
}

interface Pair {
  readonly before: Window
  readonly beside: Window
  readonly killMs?: number
}

async function pair(mothership: BenchMothership, mode: Mode): Promise<Pair> {
  const before = await window(mothership)
  if (mode === 'loop') {
    const fromMs = performance.now()
    const answer = await mothership.render(bad, 'loop', 15_000)
    const killMs = performance.now() - fromMs
    if (answer.t !== 'failed' || !answer.reason.includes('stalled')) throw new Error(JSON.stringify(answer))
    return { before, beside: await window(mothership), killMs }
  }
  const misdeeds = misbehave(mothership, mode)
  const beside = await window(mothership)
  // While it is failed there is nobody to misbehave: what is under way comes to its end.
  await misdeeds.stop()
  if (misdeeds.count() === 0) throw new Error(`${mode}: nothing died`)
  return { before, beside }
}

async function measure(mothership: BenchMothership): Promise<Map<Mode, Pair[]>> {
  const all: Record<string, WantedInstance> = {}
  for (let i = 0; i < quiet; i++) {
    const digest = await mothership.deploy(`part${i}`, { index: list }, `// part${i}\n${quietData}`)
    all[`part${i}.0`] = wanted(`part${i}`, digest, 0)
  }
  const views = Object.fromEntries(['index', ...modes].map(view => [view, '{{title}}']))
  const badDigest = await mothership.deploy('bad', views, badData)
  const found = new Map<Mode, Pair[]>(modes.map(mode => [mode, []]))
  let generation = 0
  // The first round warms up.
  for (let round = 0; round <= roundCount; round++) {
    say(`round ${round} of ${roundCount} …`)
    for (const mode of modes) {
      // A new generation, whose deaths count anew.
      mothership.want({ ...all, [bad]: wanted('bad', badDigest, ++generation) })
      await mothership.running(bad, generation)
      await pause(500)
      const measured = await pair(mothership, mode)
      if (round > 0) found.get(mode)!.push(measured)
    }
  }
  return found
}

const text = ({ median, low, high }: Spread): string => `${median.toFixed(2)} (${low.toFixed(2)} – ${high.toFixed(2)})`

function tell(found: ReadonlyMap<Mode, readonly Pair[]>): void {
  const figures: Record<string, number> = {}
  const bars: Record<string, Bar> = {}
  process.stdout.write(`p99 of the others, ms        quiet                    beside it                times\n`)
  for (const [mode, pairs] of found) {
    const before = spreadOf(pairs.map(each => each.before.p99Ms))
    const beside = spreadOf(pairs.map(each => each.beside.p99Ms))
    const times = spreadOf(pairs.map(each => each.beside.p99Ms / each.before.p99Ms))
    process.stdout.write(`${mode.padEnd(28)} ${[before, beside, times].map(each => text(each).padEnd(24)).join(' ')}\n`)
    figures[`${mode}QuietP99Ms`] = before.median
    figures[`${mode}P99Ms`] = beside.median
    figures[`${mode}TimesHigh`] = times.high
    bars[`${mode}Times`] = bar(times.median, 1.5, 'atMost')
  }
  const kills = spreadOf(found.get('loop')!.map(each => each.killMs!))
  process.stdout.write(`an endless loop is ended after ${text(kills)} ms\n`)
  bars['loopKilledMs'] = bar(kills.high, 2_000, 'atMost')
  finish('isolation', { ...figures, loopKilledMedianMs: kills.median }, bars)
}

const mothership = await BenchMothership.start()
try {
  tell(await measure(mothership))
} finally {
  await mothership.stop()
}
