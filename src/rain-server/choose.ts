/**
 * Which copy renders for whom: rendezvous hashing of session and component over the copies, so that every rain server
 * chooses the same for the same session, and a lost copy moves only its own sessions (Thaler and Ravishankar, 1998).
 */
import { createHash } from 'node:crypto'
import type { WantedComponent } from '../protocol/messages.js'

/** A copy that fails is given up after so many others were tried. */
export const copiesTried = 3

export type Copy = WantedComponent['copies'][number]

const weightOf = (session: string, component: string, copy: Copy): number =>
  createHash('md5').update(`${session}\0${component}\0${copy.instance}\0${copy.mothership}`).digest().readUIntBE(0, 6)

/** Best first; those that cannot be reached come after those that can. */
export function order(component: WantedComponent, session: string, reachable: (mothership: string) => boolean): Copy[] {
  if (component.copies.length < 2) return [...component.copies]
  return component.copies
    .map(copy => ({ copy, here: reachable(copy.mothership) ? 0 : 1, weight: weightOf(session, component.id, copy) }))
    .sort((a, b) => a.here - b.here || b.weight - a.weight)
    .map(each => each.copy)
}
