/**
 * `npm run simulate -- --seeds N [--from S]`: many runs, on all cores; `--seed X [--trace]`: one run again, with all that
 * happened in it. Ends with 1 when a run broke a rule, or when many runs never met what they have to meet.
 */
import { availableParallelism } from 'node:os'
import { parseArgs } from 'node:util'
import { isMainThread, parentPort, Worker } from 'node:worker_threads'
import { enoughRuns, expected } from './expected.js'
import { type RunResult, run } from './run.js'

const progressEveryMs = 10_000
const failuresShown = 10
const violationsShown = 12

const say = (line: string): void => void process.stdout.write(`${line}\n`)

/** Sums over many runs. */
class Totals {
  readonly counts = new Map<string, number>()
  readonly failed: RunResult[] = []
  runs = 0
  events = 0
  simulatedMs = 0

  add(result: RunResult): void {
    this.runs++
    this.events += result.events
    this.simulatedMs += result.simulatedMs
    for (const [name, count] of Object.entries(result.counts)) {
      this.counts.set(name, (this.counts.get(name) ?? 0) + count)
    }
    if (result.violations.length > 0) this.failed.push(result)
  }
}

function tell({ seed, violations }: RunResult): void {
  say(`seed ${seed} FAILED, again with all that happened: npm run simulate -- --seed ${seed} --trace`)
  for (const text of violations.slice(0, violationsShown)) say(`  ${text}`)
  if (violations.length > violationsShown) say(`  … ${violations.length - violationsShown} more`)
}

async function many(from: number, seeds: number): Promise<Totals> {
  const totals = new Totals()
  let next = from
  const startedMs = performance.now()
  const progress = setInterval(() => {
    say(`${totals.runs} of ${seeds} seeds in ${seconds(startedMs)} s, ${totals.failed.length} failed`)
  }, progressEveryMs)
  const works = Array.from({ length: Math.min(seeds, availableParallelism()) }, () => {
    return new Promise<void>((resolve, reject) => {
      const worker = new Worker(new URL(import.meta.url))
      const give = (): void => worker.postMessage(next < from + seeds ? next++ : null)
      worker.on('message', (result: RunResult) => {
        totals.add(result)
        if (result.violations.length > 0 && totals.failed.length <= failuresShown) tell(result)
        give()
      })
      worker.on('error', reject)
      worker.on('exit', code => (code === 0 ? resolve() : reject(new Error(`a worker ended with ${code}`))))
      give()
    })
  })
  await Promise.all(works).finally(() => clearInterval(progress))
  return totals
}

const seconds = (fromMs: number): number => Math.round((performance.now() - fromMs) / 1000)

function report(totals: Totals, startedMs: number): boolean {
  for (const name of [...new Set([...expected, ...totals.counts.keys()])].sort()) {
    say(`${String(totals.counts.get(name) ?? 0).padStart(9)}  ${name}`)
  }
  const missing = expected.filter(name => !totals.counts.get(name))
  const enough = totals.runs >= enoughRuns
  if (missing.length > 0) say(`never met${enough ? '' : ' (too few seeds to tell)'}: ${missing.join(', ')}`)
  const { runs, failed, events, simulatedMs } = totals
  const hours = (simulatedMs / 3_600_000).toFixed(1)
  say(`${runs} seeds, ${failed.length} failed; ${events} events, ${hours} h of clouds in ${seconds(startedMs)} s`)
  return failed.length === 0 && (missing.length === 0 || !enough)
}

async function main(): Promise<boolean> {
  const { values } = parseArgs({
    options: {
      seeds: { type: 'string' },
      from: { type: 'string' },
      seed: { type: 'string' },
      trace: { type: 'boolean' },
    },
  })
  const startedMs = performance.now()
  if (values.seed === undefined) {
    return report(await many(Number(values.from ?? 1), Number(values.seeds ?? enoughRuns)), startedMs)
  }
  const result = await run(Number(values.seed), values.trace ? { trace: say } : {})
  for (const [name, count] of Object.entries(result.counts)) say(`${String(count).padStart(9)}  ${name}`)
  if (result.violations.length > 0) tell(result)
  say(`seed ${result.seed}: ${result.events} events, ${result.simulatedMs} ms, history ${result.hash}`)
  return result.violations.length === 0
}

if (isMainThread) process.exitCode = (await main()) ? 0 : 1
else {
  parentPort!.on('message', async (seed: number | null) => {
    if (seed === null) parentPort!.close()
    else parentPort!.postMessage(await run(seed))
  })
}
