/**
 * Traces of real clusters from `RAIN_DATA` (they are not part of the project), and a made-up one beside them that is
 * always there. Amounts are shares of one host.
 */
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { mixed } from '../../src/cloud/placement/sample.js'

export interface Item {
  readonly number: number
  /** What belongs together when a trace is divided. */
  readonly group: string
  readonly size: readonly [number, number, number]
  readonly at: number
  /** Infinity: stays to the end. */
  readonly end: number
}

const data = process.env['RAIN_DATA'] ?? join(process.cwd(), '..', 'shared', 'data')
const place = (file: string): string => join(data, 'traces', file)
/** Undefined where the file is not there: counted and printed by whoever asks. */
const textOf = (file: string): string | undefined => {
  if (!existsSync(place(file))) return undefined
  const bytes = readFileSync(place(file))
  return file.endsWith('.gz') ? gunzipSync(bytes).toString() : bytes.toString()
}

function rowsOf(text: string): Record<string, string>[] {
  const [head = '', ...lines] = text.trim().split('\n')
  const names = head.split(',')
  return lines.map(line => {
    const values = line.split(',')
    return Object.fromEntries(names.map((name, index) => [name, values[index] ?? '']))
  })
}

const byArrival = (a: Item, b: Item): number => a.at - b.at || a.number - b.number
const timeOf = (text: string | undefined, none: number): number => (text ? Number(text) : none)

/** Host: 192 vCPU, 1,024 GiB, 100 % of its network. */
export function dlrm(): Item[] | undefined {
  const text = textOf('alibaba-dlrm-2025/instances-odd-apps.csv.gz')
  return text === undefined
    ? undefined
    : rowsOf(text)
        .map((row, number): Item => {
          const size = [
            Number(row['cpu_request']) / 192,
            Number(row['memory_request']) / 1024,
            Number(row['rdma_request']) / 100,
          ] as const
          return {
            number,
            group: row['app_name'] ?? '',
            size,
            at: timeOf(row['creation_time'], -1),
            end: timeOf(row['deletion_time'], Number.POSITIVE_INFINITY),
          }
        })
        .sort(byArrival)
}

/** Host: 96,000 m, 393,216 MiB; what is larger is left out. */
export function openb(): Item[] | undefined {
  const text = textOf('alibaba-openb-2023/pods-odd.csv')
  return text === undefined
    ? undefined
    : rowsOf(text)
        .map((row, number): Item => {
          const size = [Number(row['cpu_milli']) / 96_000, Number(row['memory_mib']) / 393_216, 0] as const
          return {
            number,
            group: row['name'] ?? '',
            size,
            at: Number(row['creation_time']),
            end: Number.POSITIVE_INFINITY,
          }
        })
        .filter(({ size }) => size.every(share => share <= 1))
        .sort(byArrival)
}

/** Of each hour the usage of each virtual machine: cpu, ram, network. Host: 32,000 MHz, 24 GiB, 125 MB/s. */
export function bitbrains(month: '07' | '08'): Map<number, [number, number, number]>[] | undefined {
  const text = textOf(`bitbrains-rnd/usage-1h-2013-${month}.csv.gz`)
  if (text === undefined) return undefined
  const hours: Map<number, [number, number, number]>[] = []
  for (const line of text.trim().split('\n').slice(1)) {
    const [hour = 0, machine = 0, cpu = 0, , ram = 0, , received = 0, sent = 0] = line.split(',').map(Number)
    const usage = (hours[hour] ??= new Map())
    usage.set(machine, [cpu / 32_000, ram / 24_576, (received + sent) / 125_000])
  }
  return hours
}

/** Made up: a few usual sizes and some odd ones, half of which leave again. */
export function madeUp(count: number, seed = 7): Item[] {
  const random = randomFrom(seed)
  const usual = [
    [0.5, 0.4, 0.1],
    [0.33, 0.3, 0.05],
    [0.25, 0.1, 0.3],
    [0.1, 0.2, 0.05],
    [0.05, 0.05, 0.25],
  ] as const
  return Array.from({ length: count }, (_, number): Item => {
    const odd = [random() * 0.4, random() * 0.4, random() * 0.2] as const
    const size = random() < 0.85 ? usual[Math.floor(random() * usual.length)]! : odd
    const end = random() < 0.5 ? number + random() * count : Number.POSITIVE_INFINITY
    return { number, group: String(number), size, at: number, end }
  })
}

/** One of two parts, by a hash of what belongs together; each seed divides in another way. */
export const halfOf = (items: readonly Item[], seed: number, part: 0 | 1): Item[] =>
  items.filter(({ group }) => mixed(`${group}/${seed}`) % 2 === part)

/** mulberry32 (T. Ettinger, public domain). */
export function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}
