/** How an answer's bytes are packed for its browser: by what it accepts. */
import { constants, createGzip, type Gzip } from 'node:zlib'

export type Encoding = 'br' | 'gzip' | 'identity'

/** Below this, packing takes more than it saves. */
export const packedBytesMin = 1_024
/** Texts change with each visitor and are packed while they are made; files once. */
const level = 4

/** The best that is accepted (RFC 9110, section 12.5.3); `offered`: best first. */
export function encodingFor(accepted: string | undefined, offered: readonly ('br' | 'gzip')[]): Encoding {
  const weights = new Map<string, number>()
  for (const each of (accepted ?? '').toLowerCase().split(',').slice(0, 20)) {
    const found = /^\s*([\w*-]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?$/.exec(each)
    if (found) weights.set(found[1] === 'x-gzip' ? 'gzip' : found[1]!, Number(found[2] ?? 1))
  }
  const weightOf = (name: string): number => weights.get(name) ?? weights.get('*') ?? 0
  let best: Encoding = 'identity'
  let most = 0
  for (const each of offered) {
    if (weightOf(each) > most) {
      best = each
      most = weightOf(each)
    }
  }
  return best
}

/** What is written to it comes out when it is flushed, so that a browser shows what is there. */
export const packing = (): Gzip => createGzip({ level, flush: constants.Z_SYNC_FLUSH })

const texts = /^(?:text\/|application\/(?:json|javascript|xml|manifest\+json)|image\/svg\+xml)/

export const packs = (contentType: string | undefined): boolean => texts.test(contentType ?? '')
