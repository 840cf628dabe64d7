/**
 * What every benchmark needs: a client that is lighter than what it measures, rounds that alternate between the things
 * compared, medians with their spread, a table for people and one JSON line for programs.
 */
import { mkdirSync, writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { arch, cpus, totalmem } from 'node:os'
import { join } from 'node:path'

export interface Load {
  readonly url: string
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
  readonly connections: number
  readonly ms: number
  /** Whether an answer is the work that was to be done; one that is not fails the run. */
  readonly check: (status: number, body: string) => boolean
  /** Look at the body of one answer in so many; statuses are looked at always. */
  readonly checkEvery?: number
}

export interface Measured {
  /** Answers per second. */
  readonly rate: number
  readonly answers: number
  readonly p50Ms: number
  readonly p99Ms: number
}

/** HTTP/1.1 over kept connections, one request at a time on each. Throws when an answer is not what it should be. */
export async function load({ url, method = 'GET', headers = {}, body = '', ...rest }: Load): Promise<Measured> {
  const { host, hostname, port, pathname, search } = new URL(url)
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
  const length = body === '' ? '' : `content-length: ${Buffer.byteLength(body)}\r\n`
  const request = Buffer.from(
    `${method} ${pathname}${search} HTTP/1.1\r\nhost: ${host}\r\n${lines.join('')}${length}\r\n${body}`,
  )
  const times: number[] = []
  const fromMs = performance.now()
  const untilMs = fromMs + rest.ms
  const one = (): Promise<void> => converse(connect(Number(port), hostname), request, untilMs, times, rest)
  await Promise.all(Array.from({ length: rest.connections }, one))
  const seconds = (performance.now() - fromMs) / 1000
  times.sort((a, b) => a - b)
  const at = (share: number): number =>
    times[Math.min(times.length - 1, Math.floor(times.length * share))] ?? Number.NaN
  return { rate: times.length / seconds, answers: times.length, p50Ms: at(0.5), p99Ms: at(0.99) }
}

type Checks = Pick<Load, 'check' | 'checkEvery'>

function converse(socket: Socket, request: Buffer, untilMs: number, times: number[], checks: Checks): Promise<void> {
  return new Promise((resolve, reject) => {
    let buffered = Buffer.alloc(0)
    let sentMs = 0
    let count = 0
    const send = (): void => {
      sentMs = performance.now()
      socket.write(request)
    }
    socket.setNoDelay(true)
    socket.on('connect', send)
    socket.on('error', reject)
    socket.on('close', () => reject(new Error('the connection was closed by the other side')))
    socket.on('data', part => {
      buffered = buffered.length === 0 ? part : Buffer.concat([buffered, part])
      const answer = wholeAnswer(buffered)
      if (!answer) return
      const nowMs = performance.now()
      times.push(nowMs - sentMs)
      buffered = buffered.subarray(answer.end)
      const looked = count++ % (checks.checkEvery ?? 1) === 0
      if (!checks.check(answer.status, looked ? answer.text() : '')) {
        return reject(new Error(`not the answer that was wanted: ${answer.status} ${answer.text().slice(0, 300)}`))
      }
      if (nowMs < untilMs) return send()
      socket.removeAllListeners('close')
      socket.destroy()
      resolve()
    })
  })
}

interface WholeAnswer {
  readonly status: number
  readonly end: number
  readonly text: () => string
}

/** Undefined while parts are missing. */
function wholeAnswer(bytes: Buffer): WholeAnswer | undefined {
  const head = bytes.indexOf('\r\n\r\n')
  if (head < 0) return undefined
  const lines = bytes.toString('latin1', 0, head)
  const length = Number(/\r\ncontent-length: *(\d+)/i.exec(lines)?.[1] ?? Number.NaN)
  if (Number.isNaN(length)) throw new Error('an answer without content-length')
  const end = head + 4 + length
  if (bytes.length < end) return undefined
  return { status: Number(lines.slice(9, 12)), end, text: () => bytes.toString('utf8', head + 4, end) }
}

export interface Spread {
  readonly median: number
  readonly low: number
  readonly high: number
}

export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = Math.floor(sorted.length / 2)
  const median = sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
  return { median, low: sorted[0]!, high: sorted.at(-1)! }
}

/** Each thing once in every round, so that what the machine does meanwhile touches all of them alike. */
export async function rounds(
  count: number,
  things: Readonly<Record<string, () => Promise<Measured>>>,
): Promise<Map<string, Measured[]>> {
  const found = new Map<string, Measured[]>()
  for (let round = 0; round <= count; round++) {
    for (const [name, run] of Object.entries(things)) {
      const measured = await run()
      // The first round warms up.
      if (round > 0) found.set(name, [...(found.get(name) ?? []), measured])
    }
  }
  return found
}

export interface Row {
  readonly name: string
  readonly runs: readonly Measured[]
}

const number = (value: number): string => (value >= 100 ? Math.round(value).toLocaleString('en') : value.toFixed(2))

export function printTable(rows: readonly Row[]): void {
  const cells = rows.map(({ name, runs }) => {
    const rate = spreadOf(runs.map(each => each.rate))
    const [p50, p99] = [spreadOf(runs.map(each => each.p50Ms)).median, spreadOf(runs.map(each => each.p99Ms)).median]
    return [name, number(rate.median), `${number(rate.low)} – ${number(rate.high)}`, p50.toFixed(2), p99.toFixed(2)]
  })
  const all = [['', 'per second', 'lowest – highest', 'p50 ms', 'p99 ms'], ...cells]
  const widths = all[0]!.map((_, column) => Math.max(...all.map(row => row[column]!.length)))
  for (const row of all) {
    const padded = row.map((cell, column) => (column === 0 ? cell.padEnd(widths[0]!) : cell.padStart(widths[column]!)))
    process.stdout.write(`${padded.join('   ')}\n`)
  }
}

export interface Bar {
  readonly value: number
  readonly bar: number
  readonly ok: boolean
}

export const bar = (value: number, limit: number, which: 'atLeast' | 'atMost'): Bar => {
  const shown = Number(value.toPrecision(4))
  return { value: shown, bar: limit, ok: which === 'atLeast' ? shown >= limit : shown <= limit }
}

/** Prints the last line, and keeps it in `bench/results/<bench>.json`. */
export function finish(
  bench: string,
  figures: Readonly<Record<string, number>>,
  bars: Readonly<Record<string, Bar>>,
): void {
  const [cpu] = cpus()
  const machine = `${cpus().length} x ${cpu?.model ?? arch()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`
  const rounded = Object.fromEntries(
    Object.entries(figures).map(([name, value]) => [name, Number(value.toPrecision(4))]),
  )
  const line = JSON.stringify({ bench, machine, figures: rounded, bars })
  const directory = join(process.cwd(), 'bench', 'results')
  mkdirSync(directory, { recursive: true })
  writeFileSync(join(directory, `${bench}.json`), `${line}\n`)
  process.stdout.write(`${line}\n`)
}
