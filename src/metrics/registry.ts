/**
 * A registry of metrics for one process. Names begin with `rain_`, hold their unit and follow Prometheus' rules. Labels
 * come from bounded sets: a value that strangers choose (a path, a method) never becomes a series of its own.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'

export const prefix = 'rain_'

/** A value with its labels, as they are when scraped. */
export type Reading = readonly [labels: Readonly<Record<string, string>>, value: number]

/** A number that lives elsewhere and is read at each scrape. */
export interface Exposed {
  /** Without the prefix; a counter's ends in `_total`. */
  readonly name: string
  readonly help: string
  readonly type: 'gauge' | 'counter'
  readonly labels?: readonly string[]
  readonly read: () => number | Iterable<Reading>
}

/** More label sets than this of one exposed metric are left out. */
const readingsMax = 10_000

export interface ProcessOptions {
  /** `hypervisor`, `mothership`, `rainserver`, `balancer`. */
  readonly role: string
  readonly id: string
  readonly software: string
}

/** With the metrics of the process itself (cpu, memory, event loop, file descriptors) and `rain_build_info`. */
export function createRegistry({ role, id, software }: ProcessOptions): Registry {
  const registry = new Registry()
  collectDefaultMetrics({ register: registry, prefix })
  new Gauge({
    name: `${prefix}build_info`,
    help: 'Always 1; the labels say what runs',
    labelNames: ['role', 'id', 'software'],
    registers: [registry],
  }).set({ role, id, software }, 1)
  return registry
}

export function expose(registry: Registry, ...metrics: readonly Exposed[]): void {
  for (const { name, help, type, labels = [], read } of metrics) {
    const common = { name: `${prefix}${name}`, help, labelNames: [...labels], registers: [registry] }
    if (type === 'gauge') {
      new Gauge({
        ...common,
        collect() {
          this.reset()
          for (const [set, value] of readingsOf(read())) this.set({ ...set }, value)
        },
      })
    } else {
      new Counter({
        ...common,
        collect() {
          this.reset()
          for (const [set, value] of readingsOf(read())) this.inc({ ...set }, Math.max(0, value))
        },
      })
    }
  }
}

function* readingsOf(read: number | Iterable<Reading>): Iterable<Reading> {
  if (typeof read === 'number') {
    yield [{}, read]
    return
  }
  let count = 0
  for (const reading of read) {
    if (++count > readingsMax) return
    yield reading
  }
}

export const counter = (registry: Registry, name: string, help: string, labels: readonly string[] = []): Counter =>
  new Counter({ name: `${prefix}${name}`, help, labelNames: [...labels], registers: [registry] })

export const histogram = (
  registry: Registry,
  name: string,
  help: string,
  buckets: readonly number[],
  labels: readonly string[] = [],
): Histogram =>
  new Histogram({
    name: `${prefix}${name}`,
    help,
    buckets: [...buckets],
    labelNames: [...labels],
    registers: [registry],
  })

/** Lets the first so many different values through; whatever comes later is `other`. */
export function bounded(max: number): (value: string) => string {
  const known = new Set<string>()
  return value => {
    if (known.has(value)) return value
    if (known.size >= max) return 'other'
    known.add(value)
    return value
  }
}
