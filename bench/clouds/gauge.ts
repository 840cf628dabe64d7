/**
 * Loaded into a replica's process before its program (`node --import`): answers over IPC what the process holds after a
 * full collection of garbage, and how long its event loop stood still at worst since it was last asked.
 */
const beatMs = 5

export interface Gauge {
  /** Heap in use and memory of buffers outside of it, after collection. */
  readonly heldBytes: number
  readonly rssBytes: number
  readonly pauseMsMax: number
  readonly cpuMs: number
}

let heardMs = performance.now()
let pauseMsMax = 0
setInterval(() => {
  const nowMs = performance.now()
  pauseMsMax = Math.max(pauseMsMax, nowMs - heardMs - beatMs)
  heardMs = nowMs
}, beatMs).unref()

const cpuMsNow = (): number => {
  const { user, system } = process.cpuUsage()
  return (user + system) / 1000
}

process.on('message', word => {
  // Alone, because collecting costs time of its own.
  if (word === 'cpu') process.send?.(cpuMsNow())
  if (word !== 'gauge') return
  const paused = pauseMsMax
  const cpuMs = cpuMsNow()
  const collect = (globalThis as { gc?: () => void }).gc
  collect?.()
  collect?.()
  const { heapUsed, external, rss } = process.memoryUsage()
  heardMs = performance.now()
  pauseMsMax = 0
  const gauge: Gauge = {
    heldBytes: heapUsed + external,
    rssBytes: rss,
    pauseMsMax: paused,
    cpuMs,
  }
  process.send?.(gauge)
})
process.channel?.unref()
