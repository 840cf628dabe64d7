/**
 * Fragments for pages: from what may be shown again, or from the copy that is the session's, or else from the next ones,
 * for as long as there is time. What is asked for by several pages at once, and may be shared, is fetched once.
 */
import type { Clock } from '../hypervisor/ports.js'
import type { Block, PageRequest, Visit, WantedComponent, WantedTerms } from '../protocol/messages.js'
import { Deadlines } from '../sdk/deadlines.js'
import { Breakers } from './breaker.js'
import { type Copy, copiesTried, order } from './choose.js'
import { ageOf, type Fragment, FragmentCache, keyOf } from './fragment-cache.js'
import type { RenderAnswer, RenderRequest } from './link.js'
import type { Links } from './links.js'
import { Race, type RaceEnd, type Waiting } from './race.js'
import type { VisitorSession } from './sessions.js'
import { later, type Reached, type Shown } from './shown.js'

/** For whom: the same for all fragments of a page. */
export interface Asker {
  readonly visit: Visit & { readonly session: string; readonly locale: string; readonly request: PageRequest }
  readonly held: VisitorSession
}

/** Until when a page waits, and how long it would for this view if it had all of its time, ms. */
export interface Time {
  readonly untilMs: number
  readonly usualMs: number
}

export interface Wish {
  readonly component: WantedComponent
  readonly view: string
  readonly context: Readonly<Record<string, unknown>>
  readonly block?: Block
}

export interface Failure {
  readonly kind: 'failure'
  readonly status: number
  readonly reason: string
}

export const failure = (status: number, reason: string): Failure => ({ kind: 'failure', status, reason })

/** Where a fragment came from. `other copy`: not the one that was asked first. */
export type Source = 'copy' | 'other copy' | 'kept' | 'stale'
export interface Got {
  readonly kind: 'fragment'
  readonly fragment: Fragment
  readonly source: Source
  /** For how long it may be shown again, ms. */
  readonly leftMs: number
  /** Why it is from another copy, as a status. */
  readonly after?: number
}

export interface FragmentsPorts {
  readonly links: Pick<Links, 'get' | 'reachable'>
  readonly shown: Shown
  readonly clock: Clock
  /** A component failed at a view: what it said is for who runs it, not for who looks at the page. */
  readonly onFailed: (component: string, view: string, reason: string) => void
}

const cacheBytesMax = 64 * 1024 * 1024
const keptMax = 10_000

export const termsOf = ({ terms }: WantedComponent, view: string): WantedTerms => terms?.[view] ?? noTerms
const noTerms: WantedTerms = {}

export class Fragments {
  readonly breakers = new Breakers()
  readonly cache = new FragmentCache(cacheBytesMax)
  /** What may be shared and is being fetched, by key. */
  readonly #shared = new Map<string, Promise<Got | Failure>>()
  readonly #halves: Deadlines<Race>

  constructor(private readonly ports: FragmentsPorts) {
    this.#halves = new Deadlines(ports.clock, race => race.hedge())
  }

  /** Everything that was remembered. */
  clear(): void {
    this.cache.clear()
    this.breakers.clear()
  }

  /** Its copies are asked like any others: what failed while it could not be reached was not their doing. */
  linked(mothership: string): void {
    this.breakers.keep(key => !key.startsWith(`${mothership}\0`))
  }

  /** `fresh`: nothing is shown again. */
  async fetch(wish: Wish, asker: Asker, time: Time, waiting: Waiting, fresh = false): Promise<Got | Failure> {
    const got = await this.#get(wish, asker, time, waiting, fresh)
    if (got.kind === 'fragment') this.ports.shown.note(asker.visit.session, got.fragment.instance, got.fragment.state)
    return got
  }

  #get(wish: Wish, asker: Asker, time: Time, waiting: Waiting, fresh: boolean): Promise<Got | Failure> {
    const terms = termsOf(wish.component, wish.view)
    if (fresh || terms.maxAgeMs === undefined) return this.#fromCopies(wish, asker, time, waiting)
    const key = keyFor(wish, asker, terms)
    const nowMs = this.ports.clock.nowMs()
    const kept = this.cache.get(key)
    const age = kept && ageOf(kept, nowMs)
    if (kept && (age === 'fresh' || age === 'ageing')) {
      if (age === 'ageing') void this.#share(key, wish, asker, terms, time)
      const leftMs = Math.max(0, kept.atMs + kept.maxAgeMs - nowMs)
      return Promise.resolve({ kind: 'fragment', fragment: kept.fragment, source: 'kept', leftMs })
    }
    return this.#share(key, wish, asker, terms, time)
  }

  /** What was shown last, where it may be shown still because no copy answers. */
  stale(wish: Wish, asker: Asker): Got | undefined {
    const terms = termsOf(wish.component, wish.view)
    if (terms.maxAgeMs === undefined) return undefined
    const kept = this.cache.get(keyFor(wish, asker, terms))
    if (!kept || ageOf(kept, this.ports.clock.nowMs()) === 'too old') return undefined
    return { kind: 'fragment', fragment: kept.fragment, source: 'stale', leftMs: 0 }
  }

  #share(key: string, wish: Wish, asker: Asker, terms: WantedTerms, time: Time): Promise<Got | Failure> {
    const underWay = this.#shared.get(key)
    if (underWay) return underWay
    if (this.#shared.size >= keptMax) return this.#fromCopies(wish, asker, time, undefined)
    const fetched = this.#fromCopies(wish, asker, time, undefined, this.cache.get(key)?.fragment).then(got => {
      this.#shared.delete(key)
      // What changed a session was made for one.
      if (got.kind === 'fragment' && got.fragment.sessionChange === undefined) {
        this.cache.put(key, got.fragment, terms, this.ports.clock.nowMs())
        return { ...got, leftMs: terms.maxAgeMs ?? 0 }
      }
      return got
    })
    this.#shared.set(key, fetched)
    return fetched
  }

  /** `kept`: the fragment that this one is to take the place of. */
  #fromCopies(
    wish: Wish,
    asker: Asker,
    time: Time,
    waiting: Waiting | undefined,
    kept?: Fragment,
  ): Promise<Got | Failure> {
    const { component, view } = wish
    const copies = order(component, asker.visit.session, this.ports.links.reachable)
    if (copies.length === 0) return Promise.resolve(failure(503, `no copy of ${component.id} runs`))
    const asked: Copy[] = []
    for (const copy of copies) {
      const standing = this.breakers.standing(breakerKey(copy, view), this.ports.clock.nowMs())
      if (standing === 'asked') asked.push(copy)
      // Over a link that is down nothing can be learnt of it.
      else if (standing === 'due' && this.ports.links.reachable(copy.mothership)) this.#tryOut(copy, wish, asker, time)
      if (asked.length === copiesTried) break
    }
    if (asked.length === 0) return Promise.resolve(failure(503, `${component.id} has failed again and again`))
    return new Promise(resolve => {
      const onEnd = (end: RaceEnd): void => {
        waiting?.ended(race)
        resolve(this.#cameTo(end, wish, asker, time))
      }
      const race = this.#race(asked, wish, asker, time, onEnd, kept)
      waiting?.began(race)
      race.start()
    })
  }

  /** Beside a page that does not wait for it. */
  #tryOut(copy: Copy, wish: Wish, asker: Asker, time: Time): void {
    this.breakers.note(breakerKey(copy, wish.view), { kind: 'tried' })
    const key = breakerKey(copy, wish.view)
    this.#race([copy], wish, asker, time, end => {
      if (end.kind === 'fragment') asker.held.change(wish.component.id, end.fragment.sessionChange)
      // Whatever the reason: it did not work.
      else this.breakers.note(key, { kind: 'failed', atMs: this.ports.clock.nowMs() })
    }).start()
  }

  #race(copies: Copy[], wish: Wish, asker: Asker, time: Time, onEnd: (end: RaceEnd) => void, kept?: Fragment): Race {
    const { links, clock, shown } = this.ports
    // As of now: what is shown while this is under way may well be newer.
    const before = new Map(
      copies.map(({ instance }) => [
        instance,
        later(shown.of(asker.visit.session, instance), kept?.instance === instance ? kept.state : undefined),
      ]),
    )
    const onAnswer = (copy: Copy, answer: RenderAnswer, givenMs: number): void =>
      this.#onAnswer(breakerKey(copy, wish.view), wish, answer, givenMs, time.usualMs)
    const accepts = ({ instance }: Copy, { state }: Fragment): boolean =>
      !state || shown.accepts(instance, state, before.get(instance))
    const entry = { copies, request: requestOf(wish, asker), untilMs: time.untilMs }
    const least = ({ instance }: Copy): Reached | undefined => before.get(instance)
    return new Race(entry, { links, clock, halves: this.#halves, onAnswer, accepts, shown: least }, onEnd)
  }

  /** A link that is lost is known to be; what counts here is who answers badly, or not in a time that was enough. */
  #onAnswer(key: string, wish: Wish, answer: RenderAnswer, givenMs: number, usualMs: number): void {
    if (answer.kind === 'fragment') return this.breakers.note(key, { kind: 'worked' })
    const { status, reason, unanswered } = answer
    if (status === 500) this.ports.onFailed(wish.component.id, wish.view, reason)
    if (unanswered) return
    if (status < 502) return this.breakers.note(key, { kind: 'worked' })
    if (status === 504 && givenMs < usualMs / 3) return
    this.breakers.note(key, { kind: 'failed', atMs: this.ports.clock.nowMs() })
  }

  #cameTo(end: RaceEnd, { component }: Wish, asker: Asker, time: Time): Got | Failure {
    if (end.kind === 'fragment') {
      asker.held.change(component.id, end.fragment.sessionChange)
      const { fragment, after } = end
      if (after === undefined) return { kind: 'fragment', fragment, source: 'copy', leftMs: 0 }
      return { kind: 'fragment', fragment, source: 'other copy', leftMs: 0, after }
    }
    if (this.ports.clock.nowMs() >= time.untilMs) return failure(504, `${component.id} did not answer in time`)
    return end.status === 500 ? failure(500, `${component.id} failed`) : failure(end.status, end.reason)
  }
}

const breakerKey = ({ instance, mothership }: Copy, view: string): string => `${mothership}\0${instance}\0${view}`

function keyFor({ component, view, context, block }: Wish, asker: Asker, terms: WantedTerms): string {
  const { session, user, locale, request } = asker.visit
  return keyOf(
    {
      component: component.id,
      version: component.version,
      view,
      context,
      block,
      locale,
      query: request.query,
      session: component.useSession === true ? session : '',
      user,
    },
    terms.query,
  )
}

function requestOf(
  { component, view, context, block }: Wish,
  asker: Asker,
): Omit<RenderRequest, 'instance' | 'deadlineMs'> {
  const { visit, held } = asker
  return {
    visit,
    view,
    context: context as Record<string, unknown>,
    ...(block ? { block } : {}),
    ...(component.useSession === true ? { sessionData: held.of(component.id) } : {}),
  }
}
