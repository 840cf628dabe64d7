/**
 * Where the numbers of a mothership lie in the arrays that a decision reads. Three each, for cpu, ram and bandwidth: room
 * (NaN while it takes nothing at all, which no need is below), pressure as it is, pressure of one unit more. Few, so that
 * a thousand motherships fit into the cache.
 */
export const stride = 9
export const [roomAt, pressureAt, unitAt] = [0, 3, 6]
/** What is unreserved of cpu, ram and bandwidth: in an array of its own, looked at only where there is no room. */
export const unreservedStride = 3
