/** Moments for people, as ISO 8601. Hundreds of decisions fall into one millisecond: its text is made once. */
import type { Clock } from './ports.js'

export function stamper(clock: Clock): () => string {
  let atMs = Number.NaN
  let text = ''
  return () => {
    const nowMs = clock.wallMs()
    if (nowMs !== atMs) text = new Date(nowMs).toISOString()
    atMs = nowMs
    return text
  }
}
