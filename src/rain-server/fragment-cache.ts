/**
 * Fragments that may be shown again, as their views' descriptors allow it: as good as new for `maxAge`; for as long
 * again while another one is fetched beside the page (stale-while-revalidate, RFC 5861); and after that, up to `stale`,
 * where no copy answers. Least recently used goes first. Pure: the time is an argument.
 */
import { createHash } from 'node:crypto'
import type { MessageOf, WantedTerms } from '../protocol/messages.js'

export type Fragment = MessageOf<'fragment'>

export interface Kept {
  readonly fragment: Fragment
  readonly atMs: number
  readonly maxAgeMs: number
  readonly staleMs: number
  readonly bytes: number
}

export type Age = 'fresh' | 'ageing' | 'stale' | 'too old'

/** `ageing`: shown, and made anew beside it. */
export function ageOf({ atMs, maxAgeMs, staleMs }: Kept, nowMs: number): Age {
  const age = nowMs - atMs
  if (age < maxAgeMs) return 'fresh'
  if (age >= maxAgeMs + staleMs) return 'too old'
  return age < 2 * maxAgeMs ? 'ageing' : 'stale'
}

export interface KeyParts {
  readonly component: string
  readonly version: string
  readonly view: string
  readonly context: unknown
  readonly block: unknown
  readonly locale: string
  readonly query: Readonly<Record<string, unknown>>
  /** Of a component that uses the session, or of who may see more than others. */
  readonly session: string
  readonly user: unknown
}

/** What differs in any part that the view may look at is another fragment. `names`: parameters that it looks at. */
export function keyOf({ query, ...parts }: KeyParts, names: readonly string[] | undefined): string {
  const seen = Object.entries(query)
    .filter(([name]) => names?.includes(name) ?? true)
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha256')
    .update(JSON.stringify({ ...parts, seen }))
    .digest('base64')
}

export class FragmentCache {
  readonly #kept = new Map<string, Kept>()
  #bytes = 0

  constructor(private readonly bytesMax: number) {}

  get bytes(): number {
    return this.#bytes
  }

  get(key: string): Kept | undefined {
    const kept = this.#kept.get(key)
    if (!kept) return undefined
    this.#kept.delete(key)
    this.#kept.set(key, kept)
    return kept
  }

  put(key: string, fragment: Fragment, { maxAgeMs = 0, staleMs = 0 }: WantedTerms, nowMs: number): void {
    this.#drop(key)
    const bytes = bytesOf(fragment)
    if (bytes > this.bytesMax / 8) return
    this.#kept.set(key, { fragment, atMs: nowMs, maxAgeMs, staleMs, bytes })
    this.#bytes += bytes
    for (const oldest of this.#kept.keys()) {
      if (this.#bytes <= this.bytesMax) return
      this.#drop(oldest)
    }
  }

  clear(): void {
    this.#kept.clear()
    this.#bytes = 0
  }

  #drop(key: string): void {
    this.#bytes -= this.#kept.get(key)?.bytes ?? 0
    this.#kept.delete(key)
  }
}

/** About what it takes in memory: texts of one or two bytes a character, and what holds them. */
const bytesOf = ({ html, context, children, guests, css, js }: Fragment): number =>
  1_000 + 2 * (html.length + JSON.stringify([context, children, guests, css, js]).length)
