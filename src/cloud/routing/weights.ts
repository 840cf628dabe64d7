/**
 * How many of the new visitors each rain server gets, from what it was measured to use. Pure. A weight is in proportion
 * to how much less than the mean a rain server uses; it says where to go from here and remembers no error, because
 * visitors stay where they were sent, so what a weight does shows late. The answer to a difference is weaker than the
 * difference itself (`gain` below 1), so that weights and loads do not chase each other; use is smoothed, and a weight
 * that would hardly change stays as it is. Processor time alone counts: a rain server is one thread, so that is what it
 * runs out of, and what memory or traffic are too much for it, nobody has said.
 */

/** HAProxy's own limits but 0, which takes nobody. */
export const weightMin = 1
export const weightMax = 256
/** What who is not weighed has. */
export const usualWeight = 100

const gain = 0.8
const smoothing = 0.4
/** A mean below this is idling: what differs there is noise. Millicores. */
const meanMin = 200
/** A weight that would change by less than this part stays. */
const changeMin = 0.1

export interface ServerUse {
  readonly id: string
  /** Millicores; undefined when there is no fresh sample: old load is no load. */
  readonly cpu: number | undefined
}

export interface Weighed {
  readonly weight: number
  /** Smoothed; undefined without a sample. */
  readonly cpu: number | undefined
}

export type Weighing = ReadonlyMap<string, Weighed>

export function nextWeights(before: Weighing, servers: readonly ServerUse[]): Weighing {
  const smooth = servers.map(({ id, cpu }) => ({ id, cpu: smoothed(before.get(id)?.cpu, cpu) }))
  const known = smooth.flatMap(({ cpu }) => (cpu === undefined ? [] : [cpu]))
  const mean = known.reduce((sum, cpu) => sum + cpu, 0) / Math.max(1, known.length)
  return new Map(
    smooth.map(({ id, cpu }) => {
      const aim = cpu === undefined ? usualWeight : weightFor(cpu, mean)
      return [id, { cpu, weight: kept(before.get(id)?.weight ?? usualWeight, aim) }]
    }),
  )
}

const smoothed = (before: number | undefined, cpu: number | undefined): number | undefined =>
  cpu === undefined || before === undefined ? cpu : before + smoothing * (cpu - before)

function weightFor(cpu: number, mean: number): number {
  const spare = (mean - cpu) / Math.max(mean, meanMin)
  return Math.min(weightMax, Math.max(weightMin, Math.round(usualWeight * (1 + gain * spare))))
}

/** Back to the usual weight at once: that is where there is nothing to tell apart. */
const kept = (before: number, aim: number): number =>
  aim === usualWeight || Math.abs(aim - before) >= changeMin * before ? aim : before
