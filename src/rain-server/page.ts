/**
 * A page from its fragments. Versions are resolved on the one state that the page began with; children are fetched in
 * parallel, each with a deadline. Whatever goes wrong in a child has its place taken by the next best thing: another
 * copy, what was shown last, the package's own fallback, the platform's error view, nothing. The page's status is that
 * of its own component, and of the children that it cannot do without.
 */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../hypervisor/ports.js'
import type { GuestRequest, ViewRequest, WantedComponent } from '../protocol/messages.js'
import { escapeHtml } from './document.js'
import type { Fallbacks } from './fallbacks.js'
import type { Fragment } from './fragment-cache.js'
import { type Asker, type Failure, type Fragments, failure, type Got, termsOf, type Wish } from './fragments.js'
import type { LearntViews } from './learnt-views.js'
import { withOtherIds } from './other-ids.js'
import { Arrivals, noAssets, type Piece, type Place, pieceOf, Slot, split } from './piece.js'
import type { Waiting } from './race.js'
import { pick } from './route.js'
import type { Shown } from './shown.js'
import { around, type Because, becauseOf, nothingFor, type Step, standing } from './stand-ins.js'
import type { ServerState } from './wanted.js'

export interface PageAsked extends Asker {
  readonly component: WantedComponent
  readonly view: string
  /** What the view starts with. */
  readonly context?: Readonly<Record<string, unknown>>
}

/** A page whose status is known; slots may be empty still. */
export interface Page {
  readonly status: number
  readonly root: Piece
  readonly title: string | undefined
  /** Why the page's own component could not be shown. */
  readonly reason?: string
  /** No slot is empty any more. */
  readonly whole: Promise<void>
  readonly isWhole: () => boolean
  /** Before when it will hardly be whole, by the clock: as its parts were before. */
  readonly dueMs: () => number
  /** Resolves when nothing is under way that may change the session. */
  readonly sessionSettled: Promise<void>
  /** For how long the whole may be shown again, ms; 0: not at all. Once it is whole. */
  readonly shelfMs: () => number
  /** That all of it was named by exact versions: a newer one changes nothing. */
  readonly isExact: () => boolean
  readonly arrivals: Arrivals
  /** The platform's placeholder, if there is one. */
  readonly placeholder: () => Promise<Piece | undefined>
}

export interface PagePorts {
  readonly fragments: Fragments
  readonly fallbacks: Fallbacks
  readonly learnt: LearntViews
  readonly shown: Shown
  readonly clock: Clock
  readonly onFragment: (component: string, step: Step, because: Because | undefined, ms: number) => void
}

const depthMax = 16
const fragmentsMax = 200
/** Kept back from a fragment's time, so that its error view still goes with the page. */
const spareMs = 5

/** A view that stands in a block: it belongs to who wrote the block, and goes into what the container makes of it. */
interface Guest {
  readonly asked: GuestRequest
  readonly author: Wish
  readonly inherited: Readonly<Record<string, unknown>>
  /** The author and the views above: containers within containers are no cycle, for a block has an end. */
  readonly path: readonly string[]
}

/** A child or a guest. */
interface Visit extends Omit<Guest, 'asked'> {
  readonly asked: ViewRequest | GuestRequest
}

/** Where in the page: the views above, the id of this one, and the guests of all blocks around it. */
interface Spot {
  readonly path: readonly string[]
  readonly id?: string
  readonly guests: readonly Guest[]
}

type Part = { readonly kind: 'part'; readonly piece: Piece } | Failure

/** Resolves as soon as the status is known. */
export async function openPage(
  state: ServerState,
  asked: PageAsked,
  ports: PagePorts,
  waiting: Waiting,
): Promise<Page> {
  const assembly = new Assembly(state, asked, ports, waiting)
  const { component, view, context = {} } = asked
  const top = await assembly.part({ component, view, context }, { path: [], guests: [] })
  const common = {
    whole: assembly.whole(),
    isWhole: () => assembly.pending === 0,
    dueMs: () => assembly.dueMs,
    sessionSettled: assembly.sessionSettled(),
    isExact: () => assembly.exact,
    arrivals: assembly.arrivals,
    placeholder: () => assembly.placeholder(),
  }
  if (top.kind === 'part') {
    return { status: 200, root: top.piece, title: top.piece.title, shelfMs: () => assembly.shelfMs, ...common }
  }
  const { status, reason } = top
  const root = await assembly.errorPiece(top, { component, view })
  return { status, root, title: undefined, reason, shelfMs: () => 0, ...common }
}

class Assembly {
  readonly #untilMs: number
  #fragments = 0
  /** Slots that are empty. */
  pending = 0
  #sessionsPending = 0
  dueMs = 0
  readonly #onWhole: (() => void)[] = []
  readonly #onSessions: (() => void)[] = []
  /** What is shown a second time on a page has its ids changed. */
  readonly #shown = new Set<Fragment>()
  shelfMs = Number.POSITIVE_INFINITY
  exact = true
  readonly arrivals = new Arrivals()

  constructor(
    private readonly state: ServerState,
    private readonly asked: PageAsked,
    private readonly ports: PagePorts,
    private readonly waiting: Waiting,
  ) {
    this.#untilMs = ports.clock.nowMs() + state.server.pageDeadlineMs
  }

  whole(): Promise<void> {
    return this.pending === 0 ? Promise.resolve() : new Promise(resolve => this.#onWhole.push(resolve))
  }

  sessionSettled(): Promise<void> {
    return this.#sessionsPending === 0 ? Promise.resolve() : new Promise(resolve => this.#onSessions.push(resolve))
  }

  async part(wish: Wish, { path, id: self, guests }: Spot): Promise<Part> {
    const name = `${wish.component.id}/${wish.component.version}/${wish.view}`
    if (path.length >= depthMax) return failure(508, `views are nested more than ${depthMax} deep`)
    if (path.length > 1 && path.filter(each => each === name).length > 1) return failure(508, `${name} contains itself`)
    if (++this.#fragments > fragmentsMax) return failure(508, `more than ${fragmentsMax} fragments on a page`)
    const got = await this.#fragment(wish)
    if (got.kind === 'failure') return got
    this.shelfMs = Math.min(this.shelfMs, wish.component.useSession === true ? 0 : got.leftMs)
    const fragment = this.#shown.has(got.fragment) ? withOtherIds(got.fragment) : got.fragment
    this.#shown.add(got.fragment)
    const { html, css, js, children, context, title, instance, mothership, guests: brought = [] } = fragment
    this.ports.learnt.learn(name, fragment, got.tookMs)
    const from = { author: wish, inherited: context, path: [...path, name] }
    const within = brought.length === 0 ? guests : [...guests, ...brought.map(each => ({ asked: each, ...from }))]
    const required: Promise<Part>[] = []
    const places: Place[] = children.map(child => ({
      at: child.at,
      length: 0,
      ...this.#seat({ asked: child, ...from }, within, required),
    }))
    const seated = self === undefined || guests.length === 0 ? [] : guests.filter(each => each.asked.host === self)
    for (const { at, length, guest } of seats(html, seated)) {
      places.push({ at, length, ...(guest ? this.#seat(guest, within, required) : {}) })
    }
    for (const each of required.length > 0 ? await Promise.all(required) : []) {
      if (each.kind === 'failure') return each
    }
    const { id, exact } = wish.component
    const open =
      `<div data-rain-component="${escapeHtml(id)}" data-rain-version="${escapeHtml(exact)}"` +
      ` data-rain-instance="${escapeHtml(instance)}" data-rain-mothership="${escapeHtml(mothership)}">`
    const piece = { ...split(open, html, '</div>', places), css, js, ...(title === undefined ? {} : { title }) }
    return { kind: 'part', piece }
  }

  /** What stands in the place of a view that failed: the platform's error view, or nothing but a note to who looks closer. */
  async errorPiece(failed: Failure, { component, view }: Pick<Wish, 'component' | 'view'>): Promise<Piece> {
    return this.#errorPiece(failed, component.id, view)
  }

  async placeholder(): Promise<Piece | undefined> {
    const { loadingComponent } = this.state.server
    return loadingComponent == null ? undefined : this.#standIn(loadingComponent, 'index', {})
  }

  async #errorPiece({ status, reason }: Failure, component: string, view: string): Promise<Piece> {
    this.shelfMs = 0
    if (this.waiting.left) return pieceOf('')
    const { errorComponent } = this.state.server
    const because = becauseOf(status)
    if (errorComponent !== null && errorComponent !== component) {
      const context = { status, component, view }
      const shown =
        (await this.#standIn(errorComponent, String(status), context)) ??
        (await this.#standIn(errorComponent, 'default', context))
      if (shown) {
        this.ports.onFragment(component, 'error', because, 0)
        return around(component, status, shown)
      }
    }
    this.ports.onFragment(component, 'empty', because, 0)
    return pieceOf(nothingFor({ component, view, status, reason }))
  }

  /** A view of a component of the platform itself; its children are not looked at. */
  async #standIn(id: string, view: string, context: Wish['context']): Promise<Piece | undefined> {
    const component = pick(this.state.components.get(id) ?? [], undefined)
    if (!component?.views.includes(view)) return undefined
    const got = await this.#fetch({ component, view, context })
    return got.kind === 'failure' ? undefined : pieceOf(got.fragment.html, got.fragment)
  }

  /** Begins a child. What is required is waited for before what it stands in is shown at all. */
  #seat(visit: Visit, guests: readonly Guest[], required: Promise<Part>[]): { slot?: Slot } {
    const { asked: child, author } = visit
    const own = child.component === author.component.id && child.version === author.component.exact
    const component = own ? author.component : pick(this.state.components.get(child.component) ?? [], child.version)
    if (!own && child.version !== component?.exact) this.exact = false
    const needed = child.required === true || (component && termsOf(component, child.view).required === true)
    const { learnt, clock } = this.ports
    const name = component && `${component.id}/${component.version}/${child.view}`
    const nowMs = clock.nowMs()
    if (name !== undefined) this.dueMs = Math.max(this.dueMs, nowMs + learnt.usualMs(name))
    const slot = new Slot(
      name === undefined ? noAssets : learnt.expected(name),
      nowMs,
      child.placeholder === true,
      this.arrivals,
    )
    const part = this.#child(visit, component, guests)
    const usesSession = component?.useSession === true
    this.pending++
    if (usesSession) this.#sessionsPending++
    if (needed) required.push(part)
    void this.#fill(slot, part, child, needed === true).finally(() => {
      if (--this.pending === 0) for (const each of this.#onWhole.splice(0)) each()
      if (usesSession && --this.#sessionsPending === 0) for (const each of this.#onSessions.splice(0)) each()
    })
    return { slot }
  }

  async #fill(slot: Slot, part: Promise<Part>, { component, view }: ViewRequest | GuestRequest, needed: boolean) {
    const made = await part
    if (made.kind === 'part') slot.fill(made.piece)
    // Without what is required nothing is shown of what it stands in.
    else if (needed) slot.fill(pieceOf(''))
    else slot.fill(await this.#errorPiece(made, component, view))
  }

  #child(
    { asked: child, inherited, path }: Visit,
    component: WantedComponent | undefined,
    guests: readonly Guest[],
  ): Promise<Part> {
    const what = `${child.component}${child.version === undefined ? '' : `/${child.version}`}`
    if (!component) return Promise.resolve(failure(404, `there is no component ${what}`))
    if (!component.views.includes(child.view)) return Promise.resolve(failure(404, `${what} has no view ${child.view}`))
    return this.part(
      {
        component,
        view: child.view,
        context: { ...inherited, ...child.context },
        ...(child.block ? { block: child.block } : {}),
      },
      { path, id: child.id, guests },
    )
  }

  #fetch(wish: Wish): Promise<Got | Failure> {
    const { fragments, clock } = this.ports
    const { fragmentDeadlineMs, developing } = this.state.server
    const ownMs = termsOf(wish.component, wish.view).deadlineMs ?? fragmentDeadlineMs
    const untilMs = Math.min(clock.nowMs() + ownMs, this.#untilMs) - spareMs
    return fragments.fetch(wish, this.asked, { untilMs, usualMs: ownMs }, this.waiting, developing === true)
  }

  /** The fragment, or else what may stand in for it: what was shown last, or what the package brings along. */
  async #fragment(wish: Wish): Promise<(Got & { readonly tookMs?: number }) | Failure> {
    const { fragments, fallbacks, clock, onFragment } = this.ports
    const { component, view } = wish
    const startMs = clock.nowMs()
    const got = await this.#fetch(wish)
    const ms = clock.nowMs() - startMs
    if (got.kind === 'fragment') {
      onFragment(component.id, got.source, got.after === undefined ? undefined : becauseOf(got.after), ms)
      return got.source === 'kept' ? got : { ...got, tookMs: ms }
    }
    // What somebody may not see, or is not there, was so decided by the component.
    if (got.status < 500 || got.status === 508) return got
    const stale = fragments.stale(wish, this.asked)
    if (stale) {
      onFragment(component.id, 'stale', becauseOf(got.status), ms)
      return stale
    }
    const html = fallbacks.of(component, view)
    if (html === undefined) return got
    onFragment(component.id, 'fallback', becauseOf(got.status), ms)
    return { kind: 'fragment', fragment: standing(html), source: 'stale', leftMs: 0 }
  }
}

/** Where guests go: each to the first place of its token; what else there is of tokens only goes. */
function seats(html: string, guests: readonly Guest[]): { at: number; length: number; guest?: Guest }[] {
  return guests.flatMap(guest => {
    const { token } = guest.asked
    const found: { at: number; length: number; guest?: Guest }[] = []
    for (let at = html.indexOf(token); at >= 0; at = html.indexOf(token, at + token.length)) {
      found.push({ at, length: token.length, ...(found.length === 0 ? { guest } : {}) })
    }
    return found
  })
}

export const newSession = (): string => randomBytes(16).toString('hex')
