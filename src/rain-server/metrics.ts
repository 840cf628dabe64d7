/** What a rain server counts. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { Fragments } from './fragments.js'
import type { Because, Step } from './stand-ins.js'

export class ServerMetrics {
  readonly registry = new Registry()
  readonly #pages: Histogram<'status'>
  readonly #fragments: Histogram<'outcome'>
  readonly #degraded: Counter<'component' | 'step' | 'reason'>
  readonly #links: Gauge
  readonly #load: Gauge<'resource'>
  readonly #refused: Counter

  /** `sockets`: how many websockets of browsers are open. */
  constructor(sockets: () => number) {
    collectDefaultMetrics({ register: this.registry, prefix: 'rain_server_' })
    const registers = [this.registry]
    const buckets = [0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5]
    this.#pages = new Histogram({
      name: 'rain_server_page_seconds',
      help: 'Time to make a page.',
      labelNames: ['status'],
      buckets,
      registers,
    })
    this.#fragments = new Histogram({
      name: 'rain_server_fragment_seconds',
      help: 'Time to get a fragment, by where it came from.',
      labelNames: ['outcome'],
      buckets,
      registers,
    })
    this.#degraded = new Counter({
      name: 'rain_server_degraded_total',
      help: 'Fragments in whose place another copy or something lesser was shown, and why.',
      labelNames: ['component', 'step', 'reason'],
      registers,
    })
    this.#links = new Gauge({ name: 'rain_server_links_open', help: 'Open links to motherships.', registers })
    this.#load = new Gauge({
      name: 'rain_server_load',
      help: 'Measured load: cpu in millicores, ram in MiB, bandwidth in kbit/s.',
      labelNames: ['resource'],
      registers,
    })
    new Gauge({
      name: 'rain_server_sockets_open',
      help: 'Websockets of components that browsers have open.',
      registers,
      collect() {
        this.set(sockets())
      },
    })
    this.#refused = new Counter({
      name: 'rain_server_overload_total',
      help: 'Requests refused because too many pages were under way.',
      registers,
    })
  }

  page(status: number, ms: number): void {
    this.#pages.observe({ status: `${Math.floor(status / 100)}xx` }, ms / 1000)
  }

  readonly fragment = (component: string, step: Step, because: Because | undefined, ms: number): void => {
    const outcome = step.replace(' ', '-')
    if (step === 'copy' || step === 'other copy' || step === 'kept') this.#fragments.observe({ outcome }, ms / 1000)
    if (step === 'copy' || step === 'kept') return
    this.#degraded.inc({ component, step: outcome, reason: because ?? 'unreachable' })
  }

  /** What is remembered, and who is not asked. */
  watch({ breakers, cache }: Fragments): void {
    const registers = [this.registry]
    new Gauge({
      name: 'rain_server_breakers_open',
      help: 'Views at copies that are not asked for the time being, because they failed again and again.',
      registers,
      collect() {
        this.set(breakers.open)
      },
    })
    new Gauge({
      name: 'rain_server_fragment_cache_bytes',
      help: 'Fragments that may be shown again.',
      registers,
      collect() {
        this.set(cache.bytes)
      },
    })
  }

  overload(): void {
    this.#refused.inc()
  }

  look(links: number, load: { cpu: number; ram: number; bandwidth: number }): void {
    this.#links.set(links)
    for (const [resource, amount] of Object.entries(load)) this.#load.set({ resource }, amount)
  }
}
