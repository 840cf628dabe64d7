/**
 * What stands in for views that no copy shows, as their packages bring it along (plain html): fetched from motherships
 * while there are any, and kept, because when it is needed nobody can be asked.
 */
import type { Clock } from '../hypervisor/ports.js'
import type { WantedComponent } from '../protocol/messages.js'
import type { Links } from './links.js'
import type { ServerState } from './wanted.js'

const bytesMax = 64 * 1024
const countMax = 2_000
const againMs = 2_000
const answerWithinMs = 2_000

interface Missing {
  readonly component: WantedComponent
  readonly view: string
}

export class Fallbacks {
  readonly #html = new Map<string, string>()
  #wanted = new Map<string, Missing>()
  #state: ServerState | undefined
  #fetching = false
  #cancel: (() => void) | undefined

  constructor(
    private readonly links: Links,
    private readonly clock: Clock,
  ) {}

  of(component: WantedComponent, view: string): string | undefined {
    return this.#html.get(keyOf(component, view))
  }

  /** Those of all views that the state knows, and no others. `anew`: what is here is forgotten. */
  apply(state: ServerState, anew: boolean): void {
    this.#state = state
    this.#wanted = new Map(missingOf(state).slice(0, countMax))
    for (const key of this.#html.keys()) if (anew || !this.#wanted.has(key)) this.#html.delete(key)
    void this.#fetch()
  }

  stop(): void {
    this.#state = undefined
    this.#cancel?.()
  }

  async #fetch(): Promise<void> {
    if (this.#fetching) return
    this.#fetching = true
    this.#cancel?.()
    let left = 0
    for (const [key, missing] of [...this.#wanted]) {
      if (!this.#state) break
      if (this.#html.has(key)) continue
      const html = await this.#ask(missing, this.#state)
      if (html === undefined) left++
      else if (this.#wanted.has(key)) this.#html.set(key, html)
    }
    this.#fetching = false
    if (left > 0 && this.#state) this.#cancel = this.clock.after(againMs, () => void this.#fetch())
  }

  /** Of whoever has the package: who runs it first, then all others, which may have one that does not run. */
  async #ask({ component, view }: Missing, { wires }: ServerState): Promise<string | undefined> {
    const runs = component.copies.map(each => each.mothership)
    for (const mothership of new Set([...runs, ...wires.keys()])) {
      if (!this.links.reachable(mothership)) continue
      const answer = await this.links.get(mothership)?.call({
        kind: 'fallback',
        component: component.id,
        version: component.version,
        path: view,
        verb: 'GET',
        deadlineMs: answerWithinMs,
      })
      if (answer?.kind !== 'answer' || answer.answer.status !== 200) continue
      const { body } = answer.answer
      const bytes = body instanceof Uint8Array ? Buffer.from(body) : Buffer.from(String(body ?? ''))
      if (bytes.byteLength <= bytesMax) return bytes.toString()
    }
    return undefined
  }
}

const keyOf = ({ id, version }: WantedComponent, view: string): string => `${id}/${version}/${view}`

const missingOf = ({ components }: ServerState): [string, Missing][] =>
  [...components.values()].flat().flatMap(component =>
    Object.entries(component.terms ?? {}).flatMap(([view, { fallback }]): [string, Missing][] => {
      return fallback === true ? [[keyOf(component, view), { component, view }]] : []
    }),
  )
