/**
 * One fragment from the copies that have it: the first in order is asked; the next one when it fails, or when half the
 * time is over and it has said nothing. The first good answer wins, and the others are cancelled.
 */
import type { Clock } from '../hypervisor/ports.js'
import type { Deadlines } from '../sdk/deadlines.js'
import type { Copy } from './choose.js'
import type { Fragment } from './fragment-cache.js'
import type { RenderAnswer, RenderRequest, UnderWay } from './link.js'
import type { Links } from './links.js'
import type { Reached } from './shown.js'

export interface RaceEntry {
  readonly copies: readonly Copy[]
  readonly request: Omit<RenderRequest, 'instance' | 'shown' | 'deadlineMs'>
  readonly untilMs: number
}

export interface RacePorts {
  readonly links: Pick<Links, 'get'>
  readonly clock: Clock
  /** When the half of a race's time is over. */
  readonly halves: Pick<Deadlines<Race>, 'set' | 'delete'>
  /** Of each copy that was asked. `givenMs`: how much time it had. */
  readonly onAnswer: (copy: Copy, answer: RenderAnswer, givenMs: number) => void
  /** What was shown of that copy's state already: nothing older is asked for. */
  readonly shown: (copy: Copy) => Reached | undefined
  /** Whether a fragment may be shown. */
  readonly accepts: (copy: Copy, fragment: Fragment) => boolean
}

export type RaceEnd =
  /** `after`: why it is not from the copy that was asked first, as a status. */
  | { readonly kind: 'fragment'; readonly fragment: Fragment; readonly after?: number }
  | { readonly kind: 'failed'; readonly status: number; readonly reason: string }

export class Race {
  readonly #underWay = new Set<UnderWay>()
  #next = 0
  #running = 0
  #over = false
  /** Status of the first copy's answer, when it was not good. */
  #failed: number | undefined
  #last: { status: number; reason: string } = { status: 503, reason: 'no copy could be reached' }

  constructor(
    private readonly entry: RaceEntry,
    private readonly ports: RacePorts,
    private readonly onEnd: (end: RaceEnd) => void,
  ) {}

  start(): void {
    const { clock, halves } = this.ports
    if (this.entry.copies.length > 1) halves.set(this, (this.entry.untilMs + clock.nowMs()) / 2)
    this.#askNext()
  }

  cancel(): void {
    if (!this.#over) this.#end({ kind: 'failed', status: 499, reason: 'nobody waits for it' })
  }

  /** Half of the time is over; all of it, where this process stood still: then nobody has time to answer. */
  hedge(): void {
    const leftMs = this.entry.untilMs - this.ports.clock.nowMs()
    if (!this.#over && this.#running > 0 && this.#next < this.entry.copies.length && leftMs > 0) this.#ask()
  }

  /** Whoever is next and can be asked; without anybody, and nobody to wait for, it is over. */
  #askNext(): void {
    while (!this.#over && this.#running === 0) {
      const leftMs = this.entry.untilMs - this.ports.clock.nowMs()
      if (this.#next >= this.entry.copies.length || leftMs <= 0) {
        return this.#end({ kind: 'failed', ...this.#last })
      }
      this.#ask()
    }
  }

  #ask(): void {
    const { links, clock } = this.ports
    const { request, untilMs } = this.entry
    const copy = this.entry.copies[this.#next++]!
    const link = links.get(copy.mothership)
    if (!link) return
    const givenMs = untilMs - clock.nowMs()
    this.#running++
    let settled = false
    let asked: UnderWay | undefined
    const settle = (answer: RenderAnswer): void => {
      settled = true
      this.#running--
      if (asked) this.#underWay.delete(asked)
      this.#onAnswer(copy, answer, givenMs)
    }
    const { visit, view, context, block, sessionData } = request
    const shown = this.ports.shown(copy)
    asked = link.render(
      {
        visit,
        instance: copy.instance,
        view,
        context,
        deadlineMs: givenMs,
        ...(block ? { block } : {}),
        ...(sessionData ? { sessionData } : {}),
        ...(shown ? { shown } : {}),
      },
      settle,
    )
    if (!settled) this.#underWay.add(asked)
  }

  #onAnswer(copy: Copy, answer: RenderAnswer, givenMs: number): void {
    this.ports.onAnswer(copy, answer, givenMs)
    if (this.#over) return
    if (answer.kind === 'fragment') {
      const { fragment } = answer
      const first = copy === this.entry.copies[0]
      const after = first ? {} : { after: this.#failed ?? 504 }
      if (this.ports.accepts(copy, fragment)) return this.#end({ kind: 'fragment', fragment, ...after })
      this.#last = { status: 503, reason: 'a copy answered of which nothing is to be shown any more' }
      return this.#askNext()
    }
    const { status, reason, unanswered } = answer
    this.#last = { status, reason }
    this.#failed ??= status
    // What the component itself decided is the same at every copy.
    if (!unanswered && status < 502) return this.#end({ kind: 'failed', status, reason })
    this.#askNext()
  }

  #end(end: RaceEnd): void {
    this.#over = true
    this.ports.halves.delete(this)
    for (const each of this.#underWay) each.cancel()
    this.#underWay.clear()
    this.onEnd(end)
  }
}

/** What a page waits for; when nobody waits for the page any more, nobody needs that. */
export class Waiting {
  readonly #races = new Set<Race>()
  #left = false

  /** Whether nobody waits any more. */
  get left(): boolean {
    return this.#left
  }

  began(race: Race): void {
    this.#races.add(race)
  }

  ended(race: Race): void {
    this.#races.delete(race)
  }

  leave(): void {
    this.#left = true
    for (const race of this.#races) race.cancel()
  }
}
