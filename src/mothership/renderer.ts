/** One component version as code: its templates and data functions, and how a view becomes a fragment. */
import { randomBytes } from 'node:crypto'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import Handlebars from 'handlebars'
import { type DescribedView, viewsOf } from '../cloud/component/described.js'
import type { Descriptor } from '../cloud/component/descriptor.js'
import { translationsOf } from '../cloud/component/locales.js'
import { templatePath } from '../cloud/component/views.js'
import type { Translations } from '../cloud/translation/translations.js'
import type { Viewer } from '../protocol/messages.js'
import type { SessionChange } from '../protocol/session-change.js'
import { asPerson, passage } from './authorization.js'
import { contextWith, contextWithout, registerChildHelpers, trusting } from './child-helpers.js'
import { CallSession } from './component-session.js'
import type { ComponentSocket } from './component-socket.js'
import { Controllers, handled, requestOf, UnreadableBody } from './controllers.js'
import { plain, type Rendering, registerHelpers } from './helpers.js'
import { acknowledged, Intents } from './intents.js'
import type { ControlCall, Controlled, FromWorker, RenderCall, Rendered, SocketCall, WorkerStart } from './ipc.js'
import { cutMarkers } from './markers.js'
import { functionOf, type Loaded, loadModule } from './modules.js'
import { installSpeech, languageOf, languagesOf, offeredLanguages, speaking } from './speech.js'
import { type Asks, CodeState, type StateOfCall } from './state/code.js'
import { Websockets } from './websockets.js'

export class RenderFailure extends Error {
  constructor(
    readonly status: number,
    message: string,
  ) {
    super(message)
  }
}

type Context = Record<string, unknown>
type DataFunction = (
  environment: object,
  callback: (error: unknown, context?: unknown) => void,
  context: Context,
  request: object,
) => unknown

export class Renderer {
  readonly #templates = new Map<string, HandlebarsTemplateDelegate>()
  readonly #views = new Map<string, DescribedView>()
  /** By view, what it needs where its template names nothing: a package's files stay as they are. */
  readonly #assets = new Map<string, Assets>()
  #data: Loaded = {}
  #conditions: Loaded = {}
  #controllers: Controllers | undefined
  #intents: Intents | undefined
  readonly #state: CodeState | undefined
  websockets: Websockets | undefined

  private constructor(
    private readonly descriptor: Descriptor,
    private readonly start: WorkerStart,
    asks: Asks,
    private readonly say: (message: FromWorker) => void,
  ) {
    if (descriptor.state === 'kept') this.#state = new CodeState(asks)
  }

  /** Loads everything and compiles every template: the self-test. Throws with what is wrong. */
  static async load(start: WorkerStart, asks: Asks, say: (message: FromWorker) => void): Promise<Renderer> {
    const descriptor = descriptorIn(start.directory)
    const renderer = new Renderer(descriptor, start, asks, say)
    const translations = translationsOf(filesBelow(start.directory, 'locale', '.po'))
    installSpeech(translations)
    renderer.#compile(translations)
    renderer.#data = await loadModule(join(start.directory, 'server/data.js'))
    renderer.#conditions = await loadModule(join(start.directory, 'server/authorization.js'))
    // RAIN passes over those of a container.
    if (descriptor.type !== 'container') {
      renderer.#controllers = await Controllers.load(start.directory)
      renderer.websockets = await Websockets.load(start.directory, {
        say,
        dress: (socket, call) => renderer.#dress(socket, call),
        broken: (channel, event, error) => console.error(`websocket ${channel}, ${event}:`, error),
      })
    }
    renderer.#intents = Intents.of(descriptor, renderer.#controllers)
    return renderer
  }

  async render(call: RenderCall): Promise<Rendered> {
    const view = this.#views.get(call.view)
    const template = this.#templates.get(call.view)
    if (!view || !template) throw new RenderFailure(404, `${this.descriptor.id} has no view ${call.view}`)
    this.#authorize(call.view, call.user)
    const state = this.#state?.forCall(call.instance, call.seqMin)
    const sessions = this.#sessionsOf(call)
    const made = await this.#contextOf(call, state, sessions)
    const seen = await state?.settled()
    if (Array.isArray(made))
      throw new RenderFailure(500, `the data function of ${call.view} made a list, not an object`)
    const context = plain(made)
    const rendering: Rendering = {
      nonce: randomBytes(16).toString('hex'),
      children: [],
      guests: [],
      css: [],
      languages: languagesOf(call),
    }
    const marked = template(trusting(context, call.block), { data: { rain: rendering } })
    const { html, children } = cutMarkers(marked, rendering.nonce, rendering.children)
    const title = this.descriptor.pageTitle
    return {
      html,
      context: contextWithout(context, call.block),
      children,
      ...(rendering.guests.length > 0 ? { guests: rendering.guests } : {}),
      ...assetsFor(this.#assets.get(call.view)!, rendering.css),
      ...(title === undefined ? {} : { title }),
      ...(seen === undefined ? {} : { state: seen }),
      ...changeOf(sessions),
    }
  }

  /** Under the permissions and conditions of the component, and of the view of that name if there is one. */
  async control(call: ControlCall): Promise<Controlled> {
    if (call.intent) return this.#intend(call, call.intent)
    const { name, verb, user } = call
    const found = this.#controllers?.find(name, this.#views.get(name), verb) ?? { kind: 'none' }
    if (found.kind === 'none') throw new RenderFailure(404, `${this.descriptor.id} has no controller ${name}`)
    this.#authorize(name, user)
    if (found.kind === 'other-verbs') {
      const allow = found.allow.join(', ')
      return { status: 405, headers: { allow }, cookies: [], body: new Uint8Array() }
    }
    const { id, version } = this.descriptor
    const state = this.#state?.forCall(call.instance, call.seqMin)
    const sessions = this.#sessionsOf(call)
    const environment = this.#environmentOf(call, state, sessions)
    try {
      const answer = await speaking(call, () => handled(found.handler, call, { id, version }, environment, sessions))
      const seen = await state?.settled()
      return { ...answer, ...(seen ? { state: seen } : {}), ...changeOf(sessions) }
    } catch (error) {
      if (error instanceof UnreadableBody) throw new RenderFailure(400, error.message)
      throw error
    }
  }

  /** Under the permissions and the condition of the component. */
  open(n: number, call: SocketCall): void {
    const { id } = this.descriptor
    if (!this.websockets?.has(call.channel)) throw new RenderFailure(404, `${id} has no channel ${call.channel}`)
    this.#allow(undefined, call.user, [])
    if (this.websockets.full) throw new RenderFailure(503, `${id} has as many sockets open as it may have`)
    this.websockets.open(n, call)
  }

  #dress(socket: ComponentSocket, call: SocketCall): (code: () => unknown) => Promise<unknown> {
    const { id, version } = this.descriptor
    const { session, user, request } = call
    const state = this.#state?.forCall(call.instance)
    const sessions = this.#sessionsOf(call)
    Object.assign(socket, {
      component: { id, version },
      environment: this.#environmentOf(call, state, sessions),
      sessionId: session,
      session: sessions.own,
      globalSession: sessions.all,
      user: user && asPerson(user),
      handshake: { url: request?.url ?? '', query: request?.query ?? {}, headers: request?.headers ?? {} },
    })
    return code =>
      speaking(call, async () => {
        const result = await code()
        // What it has changed is kept before anybody is told that it is done.
        await state?.settled()
        const change = sessions.change()
        if (change) this.say({ k: 'session', n: Number(socket.id), change })
        return result
      })
  }

  /** Under the permissions of the component and of the intent, and the component's condition. */
  async #intend(call: ControlCall, { category, action }: NonNullable<ControlCall['intent']>): Promise<Controlled> {
    const { id, version } = this.descriptor
    const intent = this.#intents?.find(category, action)
    if (!intent) throw new RenderFailure(404, `${id} has no intent ${category} ${action} that code answers`)
    this.#allow(undefined, call.user, intent.permissions)
    const state = this.#state?.forCall(call.instance, call.seqMin)
    const sessions = this.#sessionsOf(call)
    const environment = this.#environmentOf(call, state, sessions)
    const request = requestOf({ ...call, body: undefined }, { id, version }, environment, sessions)
    const context = plain(JSON.parse(Buffer.from(call.body ?? []).toString() || '{}'))
    const data = await speaking(call, () => acknowledged(intent.handler, context, request))
    const seen = await state?.settled()
    const body = new Uint8Array(Buffer.from(JSON.stringify(data ?? null)))
    const headers = { 'content-type': 'application/json' }
    return { status: 200, headers, cookies: [], ...(seen ? { state: seen } : {}), ...changeOf(sessions), body }
  }

  #compile(translations: Translations): void {
    const { directory } = this.start
    const handlebars = Handlebars.create()
    registerChildHelpers(handlebars, this.descriptor)
    registerHelpers(handlebars, { descriptor: this.descriptor, translations })
    for (const [name, text] of partialsIn(directory)) {
      handlebars.registerPartial(name, handlebars.compile(handlebars.parse(text)))
    }
    const { id, version } = this.descriptor
    const base = `/${id}/${version}`
    const sheets = filesIn(join(directory, 'client/css')).filter(file => file.endsWith('.css'))
    const css = sheets.map(file => `${base}/css/${encodeURI(file)}`)
    for (const view of viewsOf(this.descriptor)) {
      const script = view.client ?? `${view.id}.js`
      const hasScript = existsSync(join(directory, 'client/js', script))
      this.#assets.set(view.id, { css, js: hasScript ? [`${base}/js/${encodeURI(script)}`] : [] })
      const text = readFileSync(join(directory, templatePath(view.id, view)), 'utf8')
      this.#views.set(view.id, view)
      // Parsed here: `compile` alone would look at the text at its first use only.
      this.#templates.set(view.id, handlebars.compile(handlebars.parse(text)))
    }
  }

  #authorize(view: string, user: Viewer | undefined): void {
    this.#allow(view, user, this.#views.get(view)?.permissions ?? [])
  }

  #allow(view: string | undefined, user: Viewer | undefined, more: readonly string[]): void {
    const permissions = [...(this.descriptor.permissions ?? []), ...more]
    const found = passage(permissions, this.#conditions, view, user)
    if (found.kind !== 'free') throw new RenderFailure(found.kind === 'refused' ? 401 : 500, found.reason)
  }

  /** Without a data function the parent's context is the context. */
  #contextOf(call: RenderCall, state: StateOfCall | undefined, sessions: CallSession): Promise<unknown> {
    const data = functionOf(this.#data, call.view) as DataFunction | undefined
    const context = contextWith(call.context, call.block)
    if (!data) return Promise.resolve(context)
    const environment = this.#environmentOf(call, state, sessions)
    const { url = '', query = {}, headers = {} } = call.request ?? {}
    const { own: session, all: globalSession } = sessions
    const request = { url, query, headers, session, globalSession, user: call.user, type: 'http' }
    return speaking(call, () => called(data, environment, { ...context }, request))
  }

  #sessionsOf(call: RenderCall | ControlCall | SocketCall): CallSession {
    return new CallSession(call.session, call.sessionData, languageOf(call), this.descriptor.useSession === true)
  }

  /** What data functions get first, and controllers as `request.environment`. */
  #environmentOf(
    call: RenderCall | ControlCall | SocketCall,
    state: StateOfCall | undefined,
    { own }: CallSession,
  ): object {
    const { id, version } = this.descriptor
    return {
      language: languageOf(call),
      languages: offeredLanguages(call),
      component: id,
      version,
      instance: call.instance,
      mothership: this.start.mothership,
      ...(this.descriptor.useSession === true ? { session: own } : {}),
      ...(state ? { state: state.state } : {}),
    }
  }
}

/** Urls. */
interface Assets {
  readonly css: readonly string[]
  readonly js: readonly string[]
}

/** Style sheets that the view names, or else all that the package has. */
const assetsFor = (all: Assets, named: readonly string[]): Assets =>
  named.length > 0 ? { ...all, css: [...new Set(named)] } : all

function changeOf(sessions: CallSession): { sessionChange?: SessionChange } {
  const sessionChange = sessions.change()
  return sessionChange ? { sessionChange } : {}
}

/** By callback or promise, whichever comes; a function that does neither is left to the deadline of the call. */
function called(data: DataFunction, environment: object, context: Context, request: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const callback = (error: unknown, result?: unknown): void => {
      if (error) reject(error)
      else resolve(result)
    }
    const returned = data(environment, callback, context, request)
    if (returned instanceof Promise) returned.then(resolve, reject)
  })
}

/** What it says was judged when it was deployed: it is not held against a schema at each start of a process. */
function descriptorIn(directory: string): Descriptor {
  const text = readFileSync(join(directory, 'meta.json'), 'utf8')
  try {
    return JSON.parse(text) as Descriptor
  } catch (error) {
    throw new Error(`meta.json: not JSON: ${(error as Error).message}`)
  }
}

/** Path within the package, and content. */
function filesBelow(directory: string, place: string, ending: string): [string, Buffer][] {
  const root = join(directory, place)
  if (!existsSync(root)) return []
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter(each => each.endsWith(ending))
    .map(each => [`${place}/${each.replaceAll('\\', '/')}`, readFileSync(join(root, each))])
}

const filesIn = (directory: string): string[] => (existsSync(directory) ? readdirSync(directory).sort() : [])

/** By their path, without the ending. */
const partialsIn = (directory: string): [string, string][] =>
  filesBelow(directory, 'client/partials', '.html').map(([path, bytes]) => [
    path.slice('client/partials/'.length, -'.html'.length),
    bytes.toString(),
  ])
