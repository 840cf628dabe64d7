/**
 * Circuit breakers: who has failed so many times in a row is not asked for a while, then tried once beside a page that
 * does not wait for it, and asked again when that works (Nygard, Release It!, 2007). One for each view at each copy, so
 * that a view that hangs takes no other view with it. Pure: the time is an argument.
 */
export type Breaker =
  | { readonly kind: 'closed'; readonly failures: number }
  | { readonly kind: 'open'; readonly untilMs: number; readonly openings: number }
  /** It is being tried. */
  | { readonly kind: 'half-open'; readonly openings: number }

export type BreakerEvent =
  | { readonly kind: 'worked' }
  | { readonly kind: 'failed'; readonly atMs: number }
  | { readonly kind: 'tried' }

export const failuresMax = 5
export const openFirstMs = 1_000
export const openMostMs = 15_000

const closed: Breaker = { kind: 'closed', failures: 0 }

const openAgain = (openings: number, atMs: number): Breaker => ({
  kind: 'open',
  untilMs: atMs + Math.min(openMostMs, openFirstMs * 2 ** openings),
  openings: openings + 1,
})

export function nextBreaker(breaker: Breaker, event: BreakerEvent): Breaker {
  if (event.kind === 'worked') return closed
  switch (breaker.kind) {
    case 'closed':
      if (event.kind === 'tried') return breaker
      return breaker.failures + 1 < failuresMax
        ? { kind: 'closed', failures: breaker.failures + 1 }
        : openAgain(0, event.atMs)
    case 'open':
      // What was asked before it opened may fail still: that makes nothing longer.
      return event.kind === 'tried' ? { kind: 'half-open', openings: breaker.openings } : breaker
    case 'half-open':
      return event.kind === 'tried' ? breaker : openAgain(breaker.openings, event.atMs)
  }
}

/** `asked`: like any other. `due`: not asked, but it is time to try it. */
export type Standing = 'asked' | 'passed over' | 'due'

/** Only who has failed of late is remembered. */
export class Breakers {
  readonly #breakers = new Map<string, Breaker>()

  standing(key: string, nowMs: number): Standing {
    const breaker = this.#breakers.get(key)
    if (!breaker || breaker.kind === 'closed') return 'asked'
    return breaker.kind === 'open' && nowMs >= breaker.untilMs ? 'due' : 'passed over'
  }

  note(key: string, event: BreakerEvent): void {
    const before = this.#breakers.get(key)
    if (event.kind === 'worked') {
      if (before) this.#breakers.delete(key)
    } else this.#breakers.set(key, nextBreaker(before ?? closed, event))
  }

  /** How many are open. */
  get open(): number {
    return [...this.#breakers.values()].filter(each => each.kind !== 'closed').length
  }

  /** Forgets all that does not begin with one of these: copies that are gone. */
  keep(known: (key: string) => boolean): void {
    for (const key of this.#breakers.keys()) if (!known(key)) this.#breakers.delete(key)
  }

  clear(): void {
    this.#breakers.clear()
  }
}
