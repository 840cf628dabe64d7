/**
 * A page from its fragments. Versions are resolved on the one state that the page began with; children are fetched in
 * parallel, each with a deadline, from another copy where one fails; whatever goes wrong in a child shows in its place
 * and never breaks the page. The page's status is that of its own component.
 */
import { randomBytes } from 'node:crypto'
import type { Clock } from '../hypervisor/ports.js'
import type { MessageOf, PageRequest, Viewer, ViewRequest, WantedComponent } from '../protocol/messages.js'
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
  const top = await assembly.part({ component: asked.component, view: asked.view, context: asked.context ?? {} }, [])
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

  /** `path`: the views above this one. */
  async part(wanted: Wanted, path: readonly string[]): Promise<Part> {
    const name = `${wanted.component.id}/${wanted.component.version}/${wanted.view}`
    if (path.length >= depthMax) return failure(508, `views are nested more than ${depthMax} deep`)
    if (path.filter(each => each === name).length > 1) return failure(508, `${name} contains itself`)
    if (++this.#fragments > fragmentsMax) return failure(508, `more than ${fragmentsMax} fragments on a page`)
    const fragment = await this.#fragment(wanted)
    if (fragment.kind === 'failure') return fragment
    const { html, css, js, children, context, title, instance, mothership } = fragment.fragment
    const inner = await Promise.all(children.map(child => this.#child(child, context, wanted, [...path, name])))
    const { id, exact } = wanted.component
    const open =
      `<div data-rain-component="${escapeHtml(id)}" data-rain-version="${escapeHtml(exact)}"` +
      ` data-rain-instance="${escapeHtml(instance)}" data-rain-mothership="${escapeHtml(mothership)}">`
    return {
      kind: 'part',
      html: `${open}${insert(html, children, inner)}</div>`,
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

  async #child(
    child: ViewRequest,
    inherited: Readonly<Record<string, unknown>>,
    parent: Wanted,
    path: readonly string[],
  ): Promise<Finished> {
    const versions = this.state.components.get(child.component) ?? []
    const own = child.component === parent.component.id && child.version === parent.component.exact
    const component = own ? parent.component : pick(versions, child.version)
    const what = `${child.component}${child.version === undefined ? '' : `/${child.version}`}`
    const part = !component
      ? failure(404, `there is no component ${what}`)
      : component.views.includes(child.view)
        ? await this.part({ component, view: child.view, context: { ...inherited, ...child.context } }, path)
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

const failure = (status: number, reason: string): Failure => ({ kind: 'failure', status, reason })

/** Children go in at their offsets, whatever the html around them says. */
export function insert(
  html: string,
  children: readonly { readonly at: number }[],
  inner: readonly { readonly html: string }[],
): string {
  const places = children
    .map((child, index) => ({ at: child.at, html: inner[index]?.html ?? '' }))
    .sort((a, b) => a.at - b.at)
  let out = ''
  let from = 0
  for (const place of places) {
    const at = Math.min(Math.max(place.at, from), html.length)
    out += html.slice(from, at) + place.html
    from = at
  }
  return out + html.slice(from)
}

export const newSession = (): string => randomBytes(16).toString('hex')
