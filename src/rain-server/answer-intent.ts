/** An intent of a page's script, answered: by a view as a fragment with all within it, or by what code of the server says. */
import type { PageRequest } from '../protocol/messages.js'
import { callController } from './controller.js'
import { readIntent, resolveIntent } from './intent.js'
import type { Links } from './links.js'
import { wholeView } from './output.js'
import { openPage, type PagePorts } from './page.js'
import { Waiting } from './race.js'
import type { Visit } from './visit.js'
import type { ServerState } from './wanted.js'

export interface JsonAnswer {
  readonly status: number
  readonly body: object
  /** For who runs the component, when it failed. */
  readonly reason?: string
}

export async function answerIntent(
  body: Buffer,
  state: ServerState,
  visit: Visit,
  request: PageRequest,
  ports: PagePorts,
  links: Links,
): Promise<JsonAnswer> {
  const reading = readIntent(body.toString())
  if (reading.kind === 'bad') return refused(400, reading.reason)
  const { intent } = reading
  const resolution = resolveIntent(state, intent)
  if (resolution.kind === 'unknown') return refused(404, resolution.reason)
  if (resolution.kind === 'ambiguous') {
    const { components } = resolution
    const error = `${components.join(' and ')} answer to ${intent.category} ${intent.action}: name one as "component"`
    return { status: 409, body: { error, components } }
  }
  const { component, provider } = resolution
  const who = { component: component.id, version: component.exact }
  const { session, held, locale, languages } = visit
  if (provider.kind === 'view') {
    const { context } = intent
    const viewing = { session, locale, languages: [...languages], request }
    const asked = { component, view: provider.view, context, held, visit: viewing }
    const page = await openPage(state, asked, ports, new Waiting())
    const { status, title, reason } = page
    if (status !== 200) return refused(status, reason ?? 'the view could not be shown')
    await page.whole
    const { html, css, js } = wholeView(page)
    return { status, body: { kind: 'view', ...who, view: provider.view, title: title ?? null, html, css, js } }
  }
  const { category, action } = intent
  const answer = await callController(
    {
      route: { component, name: `${provider.file}#${provider.method}` },
      intent: { category, action },
      verb: 'POST',
      request,
      body: Buffer.from(JSON.stringify(intent.context)),
      session,
      held,
      locale,
      languages,
      deadlineMs: state.server.pageDeadlineMs,
    },
    { links, clock: ports.clock, shown: ports.shown },
  )
  if (answer.kind === 'failed') {
    const told = answer.status === 500 ? `${component.id} failed` : answer.reason
    return { ...refused(answer.status, told), reason: answer.reason }
  }
  const text = Buffer.from((answer.answer.body as Uint8Array | undefined) ?? []).toString()
  return { status: 200, body: { kind: 'server', ...who, data: JSON.parse(text) as unknown } }
}

const refused = (status: number, error: string): JsonAnswer => ({ status, body: { error } })
