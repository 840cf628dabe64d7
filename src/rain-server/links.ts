/** All links of a rain server, one for each wire that is wanted. */
import type { Clock, Log } from '../hypervisor/ports.js'
import type { ProxySettings } from '../sdk/proxy.js'
import { Link } from './link.js'
import type { ServerState } from './wanted.js'

const replacedWithinMs = 3_000

export class Links {
  readonly #links = new Map<string, Link>()
  readonly #waiting = new Set<() => void>()
  #generation: number | undefined
  #wanted: ServerState['wires'] = new Map()

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
    private readonly onOpen: (mothership: string) => void,
    /** Absent: all directly. */
    private readonly proxy?: ProxySettings,
  ) {}

  apply({ server, wires }: ServerState): void {
    const reset = this.#generation !== undefined && this.#generation !== server.generation
    this.#generation = server.generation
    if (reset) this.log.info({ generation: server.generation }, 'the wiring is reset')
    this.#wanted = wires
    if (reset) this.#drop([...this.#links.keys()], false)
    const left = [...this.#links.keys()].filter(id => !wires.has(id))
    for (const [id, wire] of wires) {
      const link = this.#links.get(id)
      if (link) link.update(wire)
      else {
        const events = { onChange: () => this.#stir(), onOpen: () => this.onOpen(id) }
        this.#links.set(id, new Link(wire, this.clock, this.log, events, this.proxy))
      }
    }
    if (left.length > 0) void this.settled(replacedWithinMs).then(() => this.#dropUnwanted(left))
  }

  /** A link that is taken away goes when those that came with it were tried: what one makes, the other may have made. */
  #dropUnwanted(ids: readonly string[]): void {
    this.#drop(
      ids.filter(id => !this.#wanted.has(id)),
      true,
    )
  }

  #drop(ids: readonly string[], drain: boolean): void {
    for (const id of ids) {
      void this.#links.get(id)?.close(drain)
      this.#links.delete(id)
    }
  }

  /** Resolves when every link was tried, or the time is up: so long the state that wired them counts as not applied. */
  settled(withinMs: number): Promise<void> {
    const untried = (): boolean => [...this.#links.values()].some(link => !link.tried)
    if (!untried()) return Promise.resolve()
    return new Promise(resolve => {
      const finish = (): void => {
        this.#waiting.delete(look)
        cancel()
        resolve()
      }
      const look = (): void => {
        if (!untried()) finish()
      }
      this.#waiting.add(look)
      const cancel = this.clock.after(withinMs, finish)
    })
  }

  #stir(): void {
    for (const look of [...this.#waiting]) look()
  }

  get(mothership: string): Link | undefined {
    return this.#links.get(mothership)
  }

  readonly reachable = (mothership: string): boolean => this.#links.get(mothership)?.open === true

  /** Why pages cannot be served yet; undefined when they can. */
  unready(): string | undefined {
    const links = [...this.#links.values()]
    if (links.length === 0 || links.some(link => link.open)) return undefined
    return links.every(link => link.tried) ? 'no wired mothership answers' : 'links are being opened'
  }

  get open(): number {
    return [...this.#links.values()].filter(link => link.open).length
  }

  bytes(): { in: number; out: number } {
    const links = [...this.#links.values()]
    return {
      in: links.reduce((sum, each) => sum + each.bytesIn, 0),
      out: links.reduce((sum, each) => sum + each.bytesOut, 0),
    }
  }

  async close(): Promise<void> {
    const links = [...this.#links.values()]
    this.#links.clear()
    await Promise.all(links.map(link => link.close(true)))
  }
}
