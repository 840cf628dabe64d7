/**
 * How much memory the process of a component may take: what its instances asked for together, and node's own. V8's limit
 * is fixed when a process starts, while instances come and go; so V8 gets a wide one, for what allocates faster than
 * anybody can look, and the limit that follows the instances is on resident memory, looked at from outside.
 */

/** MiB that node takes without any component, its program's pages included. */
const nodeMiB = 64
const askedMinMiB = 64
/** Collecting garbage takes a moment to show. */
const [settleMs, againMs] = [500, 1_000]
/** Nothing that piled up as garbage only gets this far between two looks. */
const wildly = 1.5

/** MiB resident, from the MiB that the instances of a process ask for together. */
export const residentMaxMiB = (askedMiB: number): number => nodeMiB + Math.max(askedMinMiB, Math.ceil(askedMiB))

/** MiB of V8's old space, with room for instances that come later. */
export const heapMaxMiB = (askedMiB: number): number => 4 * Math.max(askedMinMiB, Math.ceil(askedMiB))

/** MiB that the kernel lets nobody exceed, where there is a control group for each process. */
export const hardMaxMiB = (askedMiB: number): number => Math.ceil(wildly * residentMaxMiB(askedMiB))

export type Judgement = 'fine' | 'collect' | 'over'

/**
 * Who is above its allowance collects its garbage first, and is over when that does not help.
 * `sinceCollectMs`: since it was last told to; undefined before.
 */
export function judge(usedMiB: number, maxMiB: number, sinceCollectMs: number | undefined): Judgement {
  if (usedMiB <= maxMiB) return 'fine'
  if (usedMiB > wildly * maxMiB) return 'over'
  if (sinceCollectMs === undefined || sinceCollectMs > againMs) return 'collect'
  return sinceCollectMs >= settleMs ? 'over' : 'fine'
}
