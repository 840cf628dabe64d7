/** A component that keeps state: every id that was added, in order; and those who add, and know what was acknowledged. */
import { aPackage } from './packages.js'

export const tally = (id: string): Promise<Buffer> =>
  aPackage({
    'meta.json': JSON.stringify({ id, version: '1.0', url: `/${id}`, views: { index: {} }, state: 'kept' }),
    'client/templates/index.html': '<p class="tally">{{count}} of {{last}} at {{seq}}</p>',
    'server/data.js': `
      exports.index = async function (environment, callback, context, request) {
        const { document, seq } = await environment.state.read({ maxStaleMs: Number(request.query.stale || 0) })
        const log = document.log || []
        return { count: log.length, last: log[log.length - 1], seq }
      }`,
    'server/controller/add.js': `
      exports.post = async function (request, response) {
        const { id } = request.body
        const place = await request.environment.state.update(draft => {
          draft.log = draft.log || []
          return draft.log.push(id)
        }, { id })
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(JSON.stringify({ place }))
      }
      exports.get = async function (request, response) {
        const { document } = await request.environment.state.read()
        response.writeHead(200, { 'content-type': 'application/json' })
        response.end(JSON.stringify(document.log || []))
      }`,
  })

/** One addition: sent under its id until it was acknowledged. */
export interface Added {
  readonly id: string
  readonly begunMs: number
  /** Of the attempt that was acknowledged. */
  readonly sentMs: number
  readonly ackedMs: number
  /** Its number in the document, from 1. */
  readonly place: number
}

/** Undefined: it is not known whether it was added. */
export async function addOnce(url: string, id: string, withinMs: number): Promise<number | undefined> {
  const answer = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ id }),
    signal: AbortSignal.timeout(withinMs),
  }).catch(() => undefined)
  const text = await answer?.text().catch(() => '')
  return answer?.status === 200 && text ? (JSON.parse(text) as { place: number }).place : undefined
}

export async function readLog(url: string): Promise<readonly string[]> {
  const answer = await fetch(url, { signal: AbortSignal.timeout(8_000) })
  const text = await answer.text()
  if (answer.status !== 200) throw new Error(`the log cannot be read: ${answer.status} ${text.slice(0, 300)}`)
  return JSON.parse(text) as string[]
}

/** Adds, so many at a time, until it is stopped. */
export class Adders {
  readonly added: Added[] = []
  #going = true
  #n = 0
  readonly #loops: Promise<void>[]

  constructor(
    private readonly url: string,
    private readonly name: string,
    atATime: number,
    private readonly withinMs = 1_000,
    /** After each one. */
    private readonly pauseMs = 0,
  ) {
    this.#loops = Array.from({ length: atATime }, () => this.#loop())
  }

  /** What was sent and acknowledged after that time, the first one. */
  firstSince(ms: number): Added | undefined {
    return this.added.find(each => each.sentMs >= ms)
  }

  async stop(): Promise<readonly Added[]> {
    this.#going = false
    await Promise.all(this.#loops)
    return this.added
  }

  async #loop(): Promise<void> {
    while (this.#going) {
      const id = `${this.name}.${++this.#n}`
      const begunMs = performance.now()
      // What was begun is ended, so that nothing of it comes after the last look.
      for (;;) {
        const sentMs = performance.now()
        const place = await addOnce(this.url, id, this.withinMs)
        if (place !== undefined) {
          this.added.push({ id, begunMs, sentMs, ackedMs: performance.now(), place })
          break
        }
        await new Promise(resolve => setTimeout(resolve, 10))
      }
      if (this.pauseMs > 0) await new Promise(resolve => setTimeout(resolve, this.pauseMs))
    }
  }
}

/** I1-I4 as those who added can tell. */
export function* violationsOf(added: readonly Added[], log: readonly string[]): Iterable<string> {
  if (new Set(log).size !== log.length) yield 'something was added twice'
  for (const { id, place } of added) {
    if (log[place - 1] !== id) yield `${id} was acknowledged as number ${place}, which is ${log[place - 1]}`
  }
  const byEnd = [...added].sort((a, b) => a.ackedMs - b.ackedMs)
  let highest = 0
  let next = 0
  for (const each of [...added].sort((a, b) => a.begunMs - b.begunMs)) {
    for (; next < byEnd.length && byEnd[next]!.ackedMs < each.begunMs; next++) {
      highest = Math.max(highest, byEnd[next]!.place)
    }
    if (each.place < highest) yield `${each.id} is number ${each.place}, and number ${highest} ended before it began`
  }
}
