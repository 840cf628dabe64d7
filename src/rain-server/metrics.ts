/** What a rain server counts. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from 'prom-client'
import type { FragmentOutcome } from './page.js'

export class ServerMetrics {
  readonly registry = new Registry()
  readonly #pages: Histogram<'status'>
  readonly #fragments: Histogram<'outcome'>
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
      help: 'Time to get a fragment from motherships.',
      labelNames: ['outcome'],
      buckets,
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

  readonly fragment = (_component: string, outcome: FragmentOutcome, ms: number): void => {
    this.#fragments.observe({ outcome }, ms / 1000)
  }

  overload(): void {
    this.#refused.inc()
  }

  look(links: number, load: { cpu: number; ram: number; bandwidth: number }): void {
    this.#links.set(links)
    for (const [resource, amount] of Object.entries(load)) this.#load.set({ resource }, amount)
  }
}
