/** Visitors of the page of a `tally`: what each was shown, and when, so that nobody is shown older state after newer. */
import type { Added } from './tally.js'

/** A page that was asked for and shown. Times by one clock, ms. */
export interface Page {
  readonly session: number
  readonly beganMs: number
  readonly endedMs: number
  /** How many had been added, as it says. */
  readonly count: number
}

export interface ReadersOptions {
  /** So many visitors, each with a session of its own. */
  readonly sessions: number
  /** What a page may be older than now, ms; 0: it is as it was when it was asked for, or newer. */
  readonly staleMs?: number
  /** Between two pages of one session, which wait for each other only as long as that, ms. */
  readonly everyMs?: number
}

const pageWithinMs = 1_000

export class Readers {
  readonly pages: Page[] = []
  asked = 0
  /** Answered otherwise, or not at all within a second. */
  failed = 0
  readonly #underWay = new Set<Promise<void>>()
  readonly #cookies = new Map<number, string>()
  readonly #timers: NodeJS.Timeout[] = []

  constructor(url: string, { sessions, staleMs = 0, everyMs = 50 }: ReadersOptions) {
    const path = staleMs === 0 ? url : `${url}?stale=${staleMs}`
    for (let session = 0; session < sessions; session++) {
      this.#timers.push(setInterval(() => this.#ask(path, session), everyMs))
    }
  }

  /** The first page that was asked for after that time and shows so many. */
  firstSince(ms: number, count: number): Page | undefined {
    return this.pages.find(each => each.endedMs >= ms && each.count >= count)
  }

  async stop(): Promise<readonly Page[]> {
    for (const timer of this.#timers) clearInterval(timer)
    await Promise.all(this.#underWay)
    return this.pages
  }

  #ask(url: string, session: number): void {
    const asking: Promise<void> = this.#page(url, session)
      .catch(() => void this.failed++)
      .then(() => void this.#underWay.delete(asking))
    this.#underWay.add(asking)
  }

  async #page(url: string, session: number): Promise<void> {
    const cookie = this.#cookies.get(session)
    // The first answer brings the session; until then there is one request only.
    if (cookie === undefined && this.#cookies.has(session)) return
    if (cookie === undefined) this.#cookies.set(session, undefined as never)
    this.asked++
    const beganMs = performance.now()
    try {
      const answer = await fetch(url, {
        headers: { accept: 'text/html', connection: 'close', ...(cookie === undefined ? {} : { cookie }) },
        signal: AbortSignal.timeout(pageWithinMs),
      })
      const text = await answer.text()
      const count = /class="tally">(\d+) of/.exec(text)?.[1]
      if (answer.status !== 200 || count === undefined) throw new Error(`answered ${answer.status}`)
      const told = answer.headers.getSetCookie().map(each => each.split(';')[0]!)
      if (cookie === undefined && told.length > 0) this.#cookies.set(session, told.join('; '))
      this.pages.push({ session, beganMs, endedMs: performance.now(), count: Number(count) })
    } finally {
      if (this.#cookies.get(session) === undefined) this.#cookies.delete(session)
    }
  }
}

/** A visitor who adds something and looks at the page, which may be old: how many times it is not there. */
export async function addsAndLooks(add: string, page: string, times: number): Promise<number> {
  const cookie = `rain-sid=${'e'.repeat(32)}`
  let missed = 0
  for (let i = 0; i < times; i++) {
    const headers = { 'content-type': 'application/json', cookie }
    const answer = await fetch(add, { method: 'POST', headers, body: JSON.stringify({ id: `looks.${i}` }) })
    const { place } = (await answer.json()) as { place: number }
    const text = await (await fetch(page, { headers: { accept: 'text/html', cookie } })).text()
    if (!(Number(/class="tally">(\d+) of/.exec(text)?.[1]) >= place)) missed++
  }
  return missed
}

/** V5 as a visitor can tell: of two pages one after the other, the later one shows no less. */
export function* stepsBack(pages: readonly Page[]): Iterable<string> {
  for (const session of new Set(pages.map(each => each.session))) {
    const own = pages.filter(each => each.session === session)
    const byEnd = [...own].sort((a, b) => a.endedMs - b.endedMs)
    let [most, next] = [0, 0]
    for (const each of [...own].sort((a, b) => a.beganMs - b.beganMs)) {
      for (; next < byEnd.length && byEnd[next]!.endedMs < each.beganMs; next++) {
        most = Math.max(most, byEnd[next]!.count)
      }
      if (each.count < most) yield `visitor ${session} was shown ${each.count} after ${most}`
    }
  }
}

/** Of pages that are to be as new as now: what was acknowledged before one was asked for is on it. */
export function* missing(pages: readonly Page[], added: readonly Added[]): Iterable<string> {
  const byAck = [...added].sort((a, b) => a.ackedMs - b.ackedMs)
  let [most, next] = [0, 0]
  for (const { beganMs, count } of [...pages].sort((a, b) => a.beganMs - b.beganMs)) {
    for (; next < byAck.length && byAck[next]!.ackedMs < beganMs; next++) most = Math.max(most, byAck[next]!.place)
    if (count < most) yield `a page shows ${count}, and ${most} had been acknowledged when it was asked for`
  }
}
