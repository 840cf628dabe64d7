/** Calls of each component version, as counters and a bounded histogram, for reports and for Prometheus. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { latencyBucketsMs } from '../protocol/messages.js'
import type { CallResult } from './component-process.js'

export interface Calls {
  calls: number
  errors: number
  timeouts: number
  latency: number[]
}

export class Statistics {
  readonly registry = new Registry()
  readonly #byComponent = new Map<string, Calls>()
  readonly #seconds: Histogram<'component'>
  readonly #failures: Counter<'component' | 'kind'>
  readonly #load: Gauge<'resource'>

  constructor() {
    collectDefaultMetrics({ register: this.registry, prefix: 'rain_mothership_' })
    const registers = [this.registry]
    this.#seconds = new Histogram({
      name: 'rain_mothership_render_seconds',
      help: 'Time to render a fragment.',
      labelNames: ['component'],
      buckets: latencyBucketsMs.map(ms => ms / 1000),
      registers,
    })
    this.#failures = new Counter({
      name: 'rain_mothership_render_failures_total',
      help: 'Fragments that were not rendered.',
      labelNames: ['component', 'kind'],
      registers,
    })
    this.#load = new Gauge({
      name: 'rain_mothership_load',
      help: 'Measured load: cpu in millicores, ram in MiB, bandwidth in kbit/s.',
      labelNames: ['resource'],
      registers,
    })
  }

  /** `component` is `id/version`. */
  note(component: string, result: CallResult, ms: number): void {
    let calls = this.#byComponent.get(component)
    if (!calls) {
      calls = { calls: 0, errors: 0, timeouts: 0, latency: Array<number>(latencyBucketsMs.length + 1).fill(0) }
      this.#byComponent.set(component, calls)
    }
    calls.calls++
    const bucket = latencyBucketsMs.findIndex(bound => ms <= bound)
    calls.latency[bucket < 0 ? latencyBucketsMs.length : bucket]!++
    this.#seconds.observe({ component }, ms / 1000)
    if (result.kind === 'rendered') return
    if (result.status === 504) calls.timeouts++
    else calls.errors++
    this.#failures.inc({ component, kind: result.status === 504 ? 'timeout' : 'error' })
  }

  load(load: { cpu: number; ram: number; bandwidth: number }): void {
    for (const [resource, amount] of Object.entries(load)) this.#load.set({ resource }, amount)
  }

  calls(component: string): Calls | undefined {
    return this.#byComponent.get(component)
  }

  components(): Iterable<string> {
    return this.#byComponent.keys()
  }
}
