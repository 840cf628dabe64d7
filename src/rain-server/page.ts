/**
 * A page from its fragments. Versions are resolved on the one state that the page began with; children are fetched in
 * parallel, each with a deadline, from another copy where one fails; whatever goes wrong in a child shows in its place
 * and never breaks the page. The page's status is that of its own component.
 */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../hypervisor/ports.js'
import type {
  Block,
  GuestRequest,
  MessageOf,
  PageRequest,
  Viewer,
  ViewRequest,
  WantedComponent,
} from '../protocol/messages.js'
import { copiesTried, order } from './choose.js'
import { escapeHtml } from './document.js'
import type { Epochs } from './epochs.js'
import { platformLanguages } from './language.js'
import type { Links } from './links.js'
import { pick } from './route.js'
import type { VisitorSession } from './sessions.js'
import type { ServerState } from './wanted.js'

export interface PageAsked {
  readonly component: WantedComponent
  readonly view: string
  /** What the view starts with. */
  readonly context?: Readonly<Record<string, unknown>>
  readonly session: string
  readonly held: VisitorSession
  readonly user?: Viewer
  readonly locale: string
  readonly request: PageRequest
}

export interface Page {
  readonly status: number
  readonly title: string | undefined
  readonly html: string
  readonly css: readonly string[]
  readonly js: readonly string[]
  /** Why the page's own component could not be shown. */
  readonly reason?: string
}

export type FragmentOutcome = 'ok' | 'retried' | 'failed' | 'timeout'

export interface PagePorts {
  readonly links: Links
  readonly epochs: Epochs
  readonly clock: Clock
  readonly onFragment: (component: string, outcome: FragmentOutcome, ms: number) => void
  /** A component failed at a view: what it said is for who runs it, not for who looks at the page. */
  readonly onFailed: (component: string, view: string, reason: string) => void
}

const depthMax = 16
const fragmentsMax = 200
/** Kept back from a fragment's time, so that its error view still goes with the page. */
const spareMs = 5

interface Wanted {
  readonly component: WantedComponent
  readonly view: string
  readonly context: Readonly<Record<string, unknown>>
  readonly block?: Block
}

/** A view that stands in a block: it belongs to who wrote the block, and goes into what the container makes of it. */
interface Guest {
  readonly asked: GuestRequest
  readonly author: Wanted
  readonly inherited: Readonly<Record<string, unknown>>
  /** The author and the views above: containers within containers are no cycle, for a block has an end. */
  readonly path: readonly string[]
}

/** A child or a guest. */
interface Visit extends Omit<Guest, 'asked'> {
  readonly asked: ViewRequest | GuestRequest
}

/** Where in the page: the views above, the id of this one, and the guests of all blocks around it. */
interface Place {
  readonly path: readonly string[]
  readonly id?: string
  readonly guests: readonly Guest[]
}

/** Finished, with the files that it and all within it need: in the order of the page, which is the same at each visit. */
interface Finished {
  readonly html: string
  readonly css: readonly string[]
  readonly js: readonly string[]
}
type Part = ({ readonly kind: 'part'; readonly title?: string } & Finished) | Failure
interface Failure {
  readonly kind: 'failure'
  readonly status: number
  readonly reason: string
}

export async function renderPage(state: ServerState, asked: PageAsked, ports: PagePorts): Promise<Page> {
  const assembly = new Assembly(state, asked, ports)
  const top = await assembly.part(
    { component: asked.component, view: asked.view, context: asked.context ?? {} },
    { path: [], guests: [] },
  )
  if (top.kind === 'part') {
    const css = [...new Set([...top.css, ...assembly.css])]
    return { status: 200, title: top.title, html: top.html, css, js: [...new Set(top.js)] }
  }
  const html = await assembly.errorView(top, asked.component.id)
  return { status: top.status, title: undefined, html, css: [...assembly.css], js: [], reason: top.reason }
}

class Assembly {
  /** Of error views, which come after all others. */
  readonly css = new Set<string>()
  readonly #untilMs: number
  readonly #languages: readonly string[]
  #fragments = 0

  constructor(
    private readonly state: ServerState,
    private readonly asked: PageAsked,
    private readonly ports: PagePorts,
  ) {
    this.#untilMs = ports.clock.nowMs() + state.server.pageDeadlineMs
    this.#languages = platformLanguages(state.server)
  }

  async part(wanted: Wanted, { path, id: self, guests }: Place): Promise<Part> {
    const name = `${wanted.component.id}/${wanted.component.version}/${wanted.view}`
    if (path.length >= depthMax) return failure(508, `views are nested more than ${depthMax} deep`)
    if (path.filter(each => each === name).length > 1) return failure(508, `${name} contains itself`)
    if (++this.#fragments > fragmentsMax) return failure(508, `more than ${fragmentsMax} fragments on a page`)
    const fragment = await this.#fragment(wanted)
    if (fragment.kind === 'failure') return fragment
    const { html, css, js, children, context, title, instance, mothership } = fragment.fragment
    const from = { author: wanted, inherited: context, path: [...path, name] }
    const within = [...guests, ...(fragment.fragment.guests ?? []).map(each => ({ asked: each, ...from }))]
    const own = children.map(child => ({ at: child.at, length: 0, guest: { asked: child, ...from } }))
    const places = [...own, ...seats(html, self === undefined ? [] : guests.filter(each => each.asked.host === self))]
    const inner = await Promise.all(places.map(({ guest }) => (guest ? this.#child(guest, within) : nothing)))
    const { id, exact } = wanted.component
    const open =
      `<div data-rain-component="${escapeHtml(id)}" data-rain-version="${escapeHtml(exact)}"` +
      ` data-rain-instance="${escapeHtml(instance)}" data-rain-mothership="${escapeHtml(mothership)}">`
    return {
      kind: 'part',
      html: `${open}${insert(html, places, inner)}</div>`,
      css: [...css, ...inner.flatMap(each => each.css)],
      js: [...js, ...inner.flatMap(each => each.js)],
      ...(title === undefined ? {} : { title }),
    }
  }

  /** What stands in the place of a view that failed: the platform's error view, or a plain note. */
  async errorView({ status, reason }: Failure, component: string): Promise<string> {
    const { errorComponent } = this.state.server
    const found = errorComponent === null ? undefined : pick(this.state.components.get(errorComponent) ?? [], undefined)
    if (found && component !== found.id) {
      const view = found.views.includes(String(status)) ? String(status) : 'default'
      if (found.views.includes(view)) {
        const fragment = await this.#fragment({ component: found, view, context: { status, component } })
        if (fragment.kind === 'fragment') {
          for (const sheet of fragment.fragment.css) this.css.add(sheet)
          return inPlaceOf(component, status, fragment.fragment.html)
        }
      }
    }
    return inPlaceOf(component, status, 'This part is not available at the moment.', reason)
  }

  async #child({ asked: child, author, inherited, path }: Visit, guests: readonly Guest[]): Promise<Finished> {
    const versions = this.state.components.get(child.component) ?? []
    const own = child.component === author.component.id && child.version === author.component.exact
    const component = own ? author.component : pick(versions, child.version)
    const what = `${child.component}${child.version === undefined ? '' : `/${child.version}`}`
    const part = !component
      ? failure(404, `there is no component ${what}`)
      : component.views.includes(child.view)
        ? await this.part(
            {
              component,
              view: child.view,
              context: { ...inherited, ...child.context },
              ...(child.block ? { block: child.block } : {}),
            },
            { path, id: child.id, guests },
          )
        : failure(404, `${what} has no view ${child.view}`)
    return part.kind === 'part' ? part : { html: await this.errorView(part, child.component), css: [], js: [] }
  }

  /** From the copy that is this session's, or else from the next ones, for as long as there is time. */
  async #fragment(wanted: Wanted): Promise<{ kind: 'fragment'; fragment: MessageOf<'fragment'> } | Failure> {
    const { links, clock, epochs, onFragment } = this.ports
    const { component } = wanted
    const startMs = clock.nowMs()
    const untilMs = Math.min(startMs + this.state.server.fragmentDeadlineMs, this.#untilMs) - spareMs
    const copies = order(component, this.asked.session, links.reachable)
    let last: Failure = failure(
      503,
      copies.length === 0 ? `no copy of ${component.id} runs` : 'no copy could be reached',
    )
    let tries = 0
    for (const copy of copies.slice(0, copiesTried)) {
      const leftMs = untilMs - clock.nowMs()
      if (leftMs <= 0) break
      tries++
      const answer = await links.get(copy.mothership)?.render(this.#request(wanted, copy.instance, leftMs))
      if (answer?.kind === 'fragment') {
        const { state } = answer.fragment
        if (state && !epochs.accepts(copy.instance, state)) {
          last = failure(503, 'a copy answered of which nothing is to be shown any more')
          continue
        }
        this.asked.held.change(component.id, answer.fragment.sessionChange)
        onFragment(component.id, tries > 1 ? 'retried' : 'ok', clock.nowMs() - startMs)
        return answer
      }
      if (answer) last = this.#told(wanted, answer)
      // What the component itself decided is the same at every copy.
      if (answer && !answer.unanswered && answer.status < 502) break
    }
    if (clock.nowMs() >= untilMs) last = failure(504, `${component.id} did not answer in time`)
    onFragment(component.id, last.status === 504 ? 'timeout' : 'failed', clock.nowMs() - startMs)
    return last
  }

  #told(
    { component, view }: Wanted,
    { status, reason }: { readonly status: number; readonly reason: string },
  ): Failure {
    if (status !== 500) return failure(status, reason)
    this.ports.onFailed(component.id, view, reason)
    return failure(500, `${component.id} failed`)
  }

  #request(
    wanted: Wanted,
    instance: string,
    deadlineMs: number,
  ): Parameters<NonNullable<ReturnType<Links['get']>>['render']>[0] {
    const { session, held, user, locale, request } = this.asked
    const { id, useSession } = wanted.component
    return {
      instance,
      view: wanted.view,
      context: { ...wanted.context },
      session,
      locale,
      request,
      deadlineMs,
      ...(wanted.block ? { block: wanted.block } : {}),
      ...(user === undefined ? {} : { user }),
      ...(useSession === true ? { sessionData: held.of(id) } : {}),
      ...(this.#languages.length > 0 ? { languages: [...this.#languages] } : {}),
    }
  }
}

/** `html` as it is; the reason is for who looks closer. */
const inPlaceOf = (component: string, status: number, html: string, reason?: string): string =>
  `<div class="rain-error" data-rain-component="${escapeHtml(component)}" data-rain-status="${status}"` +
  `${reason === undefined ? '' : ` title="${escapeHtml(reason)}"`} role="note">${html}</div>`

const nothing: Finished = { html: '', css: [], js: [] }

const failure = (status: number, reason: string): Failure => ({ kind: 'failure', status, reason })

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

/** Children go in at their offsets, in the place of so many characters, whatever the html around them says. */
export function insert(
  html: string,
  children: readonly { readonly at: number; readonly length?: number }[],
  inner: readonly { readonly html: string }[],
): string {
  const places = children
    .map(({ at, length = 0 }, index) => ({ at, length, html: inner[index]?.html ?? '' }))
    .sort((a, b) => a.at - b.at)
  let out = ''
  let from = 0
  for (const place of places) {
    const at = Math.min(Math.max(place.at, from), html.length)
    out += html.slice(from, at) + place.html
    from = Math.min(at + place.length, html.length)
  }
  return out + html.slice(from)
}

export const newSession = (): string => randomBytes(16).toString('hex')
