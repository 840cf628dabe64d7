/** Calls of each component version, as counters and a bounded histogram, for reports and for Prometheus. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import { resourceNames } from '../cloud/placement/host.js'
import type { Resources } from '../cloud/resources.js'
import { latencyBucketsMs } from '../protocol/messages.js'
import type { CallResult, ControlResult } from './component-process.js'
import type { Traffic } from './machine.js'
import type { Load, Measured } from './meter.js'

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
  readonly #traffic = new Map<string, Traffic>()
  readonly #gauges: Readonly<Record<'load' | 'capacity' | 'machine', Gauge<'resource'>>>
  readonly #bandwidth: Gauge<'direction'>
  readonly #componentLoad: Gauge<'component' | 'resource'>

  constructor() {
    collectDefaultMetrics({ register: this.registry, prefix: 'rain_mothership_' })
    const registers = [this.registry]
    this.#seconds = new Histogram({
      name: 'rain_mothership_render_seconds',
      help: 'Time to render a fragment, or of a controller to answer.',
      labelNames: ['component'],
      buckets: latencyBucketsMs.map(ms => ms / 1000),
      registers,
    })
    this.#failures = new Counter({
      name: 'rain_mothership_render_failures_total',
      help: 'Fragments that were not rendered, and calls of controllers that were not answered.',
      labelNames: ['component', 'kind'],
      registers,
    })
    const units = 'cpu in millicores, ram in MiB, bandwidth in kbit/s'
    const gauge = <L extends string>(name: string, help: string, ...labelNames: L[]): Gauge<L> =>
      new Gauge({ name, help, labelNames, registers })
    this.#gauges = {
      load: gauge('rain_mothership_load', `Measured load: ${units}.`, 'resource'),
      capacity: gauge('rain_mothership_capacity', `What it has to give away: ${units}.`, 'resource'),
      machine: gauge('rain_machine_load', `Load of the whole machine: ${units}.`, 'resource'),
    }
    this.#bandwidth = gauge('rain_mothership_bandwidth', 'Measured bandwidth by direction, kbit/s.', 'direction')
    const help = `Load of a component version: ${units}.`
    this.#componentLoad = gauge('rain_mothership_component_load', help, 'component', 'resource')
  }

  /** `component` is `id/version`. */
  note(component: string, result: CallResult | ControlResult, ms: number): void {
    let calls = this.#byComponent.get(component)
    if (!calls) {
      calls = { calls: 0, errors: 0, timeouts: 0, latency: Array<number>(latencyBucketsMs.length + 1).fill(0) }
      this.#byComponent.set(component, calls)
    }
    calls.calls++
    const bucket = latencyBucketsMs.findIndex(bound => ms <= bound)
    calls.latency[bucket < 0 ? latencyBucketsMs.length : bucket]!++
    this.#seconds.observe({ component }, ms / 1000)
    if (result.kind !== 'failed') return
    if (result.status === 504) calls.timeouts++
    else calls.errors++
    this.#failures.inc({ component, kind: result.status === 504 ? 'timeout' : 'error' })
  }

  noteTraffic(component: string, bytesIn: number, bytesOut: number): void {
    const before = this.#traffic.get(component)
    this.#traffic.set(component, {
      bytesIn: (before?.bytesIn ?? 0) + bytesIn,
      bytesOut: (before?.bytesOut ?? 0) + bytesOut,
    })
  }

  get traffic(): ReadonlyMap<string, Traffic> {
    return this.#traffic
  }

  capacity(capacity: Resources): void {
    set(this.#gauges.capacity, capacity)
  }

  load({ self, machine, components }: Measured): void {
    set(this.#gauges.load, summed(self))
    if (machine) set(this.#gauges.machine, summed(machine))
    for (const direction of ['in', 'out'] as const) this.#bandwidth.set({ direction }, self.bandwidth[direction])
    this.#componentLoad.reset()
    for (const [component, load] of components) {
      for (const name of resourceNames) this.#componentLoad.set({ component, resource: name }, load[name])
    }
  }

  calls(component: string): Calls | undefined {
    return this.#byComponent.get(component)
  }

  components(): Iterable<string> {
    return this.#byComponent.keys()
  }
}

const summed = ({ cpu, ram, bandwidth }: Load): Resources => ({ cpu, ram, bandwidth: bandwidth.in + bandwidth.out })

function set(gauge: Gauge<'resource'>, amounts: Resources): void {
  for (const resource of resourceNames) gauge.set({ resource }, amounts[resource])
}
