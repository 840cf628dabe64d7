/** Ids and secrets of the nodes of the benchmark: made from their number, so that each process knows them. */
export const nodeId = (i: number): string => `r${i + 1}`
export const secretOf = (i: number): string => `bench-node-${i + 1}`
