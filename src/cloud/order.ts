/**
 * The order of everything that leaves a replica: (era, revision) (S10). The era counts how often this cloud was
 * restored from a backup; within an era etcd's revision decides.
 */
export interface Order {
  readonly era: number
  readonly revision: number
}

export const beginning: Order = { era: 0, revision: 0 }

export const compareOrder = (a: Order, b: Order): number => a.era - b.era || a.revision - b.revision

/** `3.1042`: as `X-Rain-Revision` and `?minRevision=` carry it. */
export const formatOrder = (order: Order): string => `${order.era}.${order.revision}`

/** Undefined when the text is not `<era>.<revision>` with both of them safe integers. */
export function parseOrder(text: string): Order | undefined {
  const match = /^(\d{1,15})\.(\d{1,15})$/.exec(text)
  return match ? { era: Number(match[1]), revision: Number(match[2]) } : undefined
}
