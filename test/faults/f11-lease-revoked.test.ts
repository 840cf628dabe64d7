/** F11: the lease of the leader is gone for no reason, as a member of etcd may revoke it: a change of leader, no harm. */
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { nowMs, Prober } from './support/clients.js'
import { underClients, withCloud } from './support/rounds.js'
import { ms, quantile, report } from './support/rows.js'

const rounds = 8
const barMs = 1_000
const p99BarMs = 100

describe('F11, the lease of the leader revoked', () => {
  it('goes on writing in another term', async () => {
    await withCloud({}, async cloud => {
      const prober = new Prober(cloud).start()
      const { result } = await underClients(cloud, async () => {
        const tookMs: number[] = []
        for (let i = 0; i < rounds; i++) {
          const before = await cloud.settledLeader()
          const key = await cloud.log.leaderKey()
          const fromMs = nowMs()
          await cloud.log.client.revoke(key!.lease, 2_000)
          await waitUntil('another term began', async () => ((await cloud.leaderAt(0))?.term ?? 0) > before.term)
          await waitUntil('a write is acknowledged', () => prober.firstDoneSince(fromMs) !== undefined)
          tookMs.push(prober.firstDoneSince(fromMs)!.answeredMs - fromMs)
        }
        await prober.stop()
        return tookMs
      })
      const [p99, worst] = [quantile(result, 0.99), Math.max(...result)]
      const figure = `next write after ${ms(quantile(result, 0.5))} (median), ${ms(worst)} (worst)`
      const ok = worst <= barMs && p99 <= p99BarMs
      report({ id: 'F11', fault: "leader's lease revoked", figure, bar: 'p99 <= 100 ms, max 1000 ms', ok, n: rounds })
      expect.soft(p99).toBeLessThanOrEqual(p99BarMs)
      expect.soft(worst).toBeLessThanOrEqual(barMs)
    })
  })
})
