/** Percentiles of a histogram with fixed buckets, by linear interpolation within the bucket, as Prometheus does it. */

/** `counts` has one more entry than `bounds`, for what lies above. Null without a sample. */
export function percentile(counts: readonly number[], bounds: readonly number[], share: number): number | null {
  const total = counts.reduce((sum, count) => sum + count, 0)
  if (total === 0) return null
  const rank = share * total
  let below = 0
  for (const [index, upper] of bounds.entries()) {
    const count = counts[index] ?? 0
    if (below + count >= rank && count > 0) {
      const lower = index === 0 ? 0 : bounds[index - 1]!
      return lower + ((upper - lower) * (rank - below)) / count
    }
    below += count
  }
  return bounds.at(-1) ?? null
}
