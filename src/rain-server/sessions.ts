/**
 * Sessions of visitors. Where a session is kept is the visitor's own cookie, so any rain server has it and none has to be
 * asked; what this one knows in memory is only newer: changes of requests that run side by side, and of websockets, which
 * cannot set a cookie. HAProxy sends a visitor to the same rain server again, and the next answer brings the cookie up.
 */
import type { Clock, Log } from '../hypervisor/ports.js'
import { changed, type SessionChange, type SessionData, sessionBytesMax } from '../protocol/session-change.js'
import { emptySession, type Session, seal, unseal } from './sealed.js'

const rememberedMax = 10_000
const cookieName = 'rain-session'
const cookie = new RegExp(`(?:^|;\\s*)${cookieName}=([\\w-]+)(?:;|$)`)

export class Sessions {
  readonly #latest = new Map<string, Session>()

  constructor(
    private readonly clock: Clock,
    private readonly log: Log,
  ) {}

  /** `cookies`: the header. Without a key (an older hypervisor) sessions live in memory only. */
  open(id: string, cookies: string, keys: readonly string[]): VisitorSession {
    const sealed = cookie.exec(cookies)?.[1]
    const told = sealed === undefined ? undefined : unseal(sealed, id, keys, this.clock.wallMs())
    const known = this.#latest.get(id)
    const latest = known && known.seq >= (told?.seq ?? 0) ? known : (told ?? emptySession)
    if (latest.seq > 0) this.#remember(id, latest)
    return new VisitorSession(id, told?.seq ?? 0, keys[0], this)
  }

  latest(id: string): Session {
    return this.#latest.get(id) ?? emptySession
  }

  /** A change that does not fit into a cookie any more is not made. */
  change(id: string, component: string, change: SessionChange, key: string | undefined): void {
    const before = this.latest(id)
    const language = change.language ?? before.language
    const own = { ...before.own, [component]: changed(before.own[component] ?? {}, change) }
    if (Object.keys(own[component]!).length === 0) delete own[component]
    const after: Session = { seq: before.seq + 1, own, ...(language === undefined ? {} : { language }) }
    const tooMuch = Buffer.byteLength(JSON.stringify(own[component] ?? {})) > sessionBytesMax
    if (tooMuch || (key !== undefined && this.sealed(id, after, key) === undefined)) {
      this.log.warn({ component }, 'a session is full: what a component puts into it is not kept')
      return
    }
    this.#remember(id, after)
  }

  sealed(id: string, session: Session, key: string): string | undefined {
    return seal(session, id, key, this.clock.wallMs())
  }

  #remember(id: string, session: Session): void {
    this.#latest.delete(id)
    this.#latest.set(id, session)
    const [oldest] = this.#latest.keys()
    if (this.#latest.size > rememberedMax) this.#latest.delete(oldest!)
  }
}

/** The session of one request, or of one websocket. */
export class VisitorSession {
  constructor(
    readonly id: string,
    /** How far the browser's cookie was. */
    private readonly toldSeq: number,
    private readonly key: string | undefined,
    private readonly sessions: Sessions,
  ) {}

  get language(): string | undefined {
    return this.sessions.latest(this.id).language
  }

  of(component: string): SessionData {
    return this.sessions.latest(this.id).own[component] ?? {}
  }

  change(component: string, change: SessionChange | undefined): void {
    if (change) this.sessions.change(this.id, component, change, this.key)
  }

  /** To be set with the answer: when more is known here than the browser has. */
  cookies(): string[] {
    const latest = this.sessions.latest(this.id)
    const sealed =
      latest.seq > this.toldSeq && this.key !== undefined ? this.sessions.sealed(this.id, latest, this.key) : undefined
    return sealed === undefined ? [] : [`${cookieName}=${sealed}; Path=/; HttpOnly; SameSite=Lax`]
  }
}
