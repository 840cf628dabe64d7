/** Which motherships are looked at when there are too many to look at all of them: chance that comes from a seed alone. */

import { blockSize } from './bounds.js'

/** 32 bits of a text, well mixed (FNV-1a, then the finaliser of MurmurHash3). */
export function mixed(text: string): number {
  let hash = 0x811c9dc5
  for (let at = 0; at < text.length; at++) hash = Math.imul(hash ^ text.charCodeAt(at), 0x01000193)
  return finalised(hash)
}

function finalised(hash: number): number {
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return (hash ^ (hash >>> 16)) >>> 0
}

/** Up to this many, all are looked at. */
export const allUpTo = 1_024
const windows = 8

/**
 * Calls `look` with ranges of indexes below `count`: all of them where they are few, else eight blocks of neighbours
 * that the seed decides (power of k choices; M. Mitzenmacher, 2001). No block twice.
 */
export function sample(count: number, seed: number, look: (from: number, to: number) => void, most = allUpTo): void {
  if (count <= most) return look(0, count)
  const blocks = Math.ceil(count / blockSize)
  const drawn: number[] = []
  while (drawn.length < Math.min(windows, blocks)) {
    let block = finalised(seed + Math.imul(drawn.length + 1, 0x9e3779b9)) % blocks
    while (drawn.includes(block)) block = (block + 1) % blocks
    drawn.push(block)
    look(block * blockSize, Math.min(count, (block + 1) * blockSize))
  }
}
