/**
 * Which copy renders for whom: rendezvous hashing of session and component over the copies, so that every rain server
 * chooses the same for the same session, and a lost copy moves only its own sessions (Thaler and Ravishankar, 1998).
 */
import type { WantedComponent } from '../protocol/messages.js'

/** A copy that fails is given up after so many others were tried. */
export const copiesTried = 3

export type Copy = WantedComponent['copies'][number]

/** FNV-1a (Fowler, Noll and Vo) of 32 bits, over UTF-16 units. */
function hash(text: string): number {
  let sum = 0x811c9dc5
  for (let i = 0; i < text.length; i++) sum = Math.imul(sum ^ text.charCodeAt(i), 0x01000193)
  return sum
}

/** The last step of MurmurHash3 (Appleby): every bit of the result depends on every bit of the input, one to one. */
function mixed(sum: number): number {
  let bits = sum
  bits = Math.imul(bits ^ (bits >>> 16), 0x85ebca6b)
  bits = Math.imul(bits ^ (bits >>> 13), 0xc2b2ae35)
  return (bits ^ (bits >>> 16)) >>> 0
}

/** Copies are told anew, as other objects, with each change of the cloud. */
const hashes = new WeakMap<Copy, number>()

function hashOf(component: string, copy: Copy): number {
  const known = hashes.get(copy)
  if (known !== undefined) return known
  const made = mixed(hash(`${component}\0${copy.instance}\0${copy.mothership}`))
  hashes.set(copy, made)
  return made
}

/** Best first; those that cannot be reached come after those that can. */
export function order(component: WantedComponent, session: string, reachable: (mothership: string) => boolean): Copy[] {
  if (component.copies.length < 2) return [...component.copies]
  const visitor = mixed(hash(session))
  const weightOf = (copy: Copy): number => mixed(visitor ^ hashOf(component.id, copy))
  return component.copies
    .map(copy => ({ copy, here: reachable(copy.mothership) ? 0 : 1, weight: weightOf(copy) }))
    .sort((a, b) => a.here - b.here || b.weight - a.weight)
    .map(each => each.copy)
}
