/** F7: the leader of etcd is killed, or stops; writes go on at another member. */
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { nowMs, Prober } from './support/clients.js'
import type { FaultCloud } from './support/cloud.js'
import { underClients, withCloud } from './support/rounds.js'
import { ms, report } from './support/rows.js'

const timings = [
  { name: 'defaults 100/1000', heartbeatMs: 100, electionMs: 1_000, barMs: 4_000 },
  { name: '50/250', heartbeatMs: 50, electionMs: 250, barMs: 1_500 },
]
const rounds = 3

/** Milliseconds until a write that was asked for since is acknowledged. */
async function round(cloud: FaultCloud, prober: Prober, signal: 'SIGKILL' | 'SIGSTOP'): Promise<number> {
  await cloud.settledLeader()
  const victim = await cloud.etcdLeader()
  const member = cloud.etcd[victim]!.process
  const fromMs = nowMs()
  if (signal === 'SIGKILL') await member.end()
  else member.signal('SIGSTOP')
  try {
    await waitUntil('a write is acknowledged', () => prober.firstDoneSince(fromMs) !== undefined, 20_000)
    return prober.firstDoneSince(fromMs)!.answeredMs - fromMs
  } finally {
    member.signal('SIGCONT')
    await cloud.restartEtcd(victim)
  }
}

for (const { name, barMs, ...options } of timings) {
  describe(`F7, etcd with ${name}`, () => {
    it('goes on writing when its leader is killed, and when it stops', async () => {
      await withCloud(options, async cloud => {
        const prober = new Prober(cloud).start()
        const { result } = await underClients(cloud, async () => {
          const tookMs = { SIGKILL: [] as number[], SIGSTOP: [] as number[] }
          for (let i = 0; i < rounds; i++) {
            for (const signal of ['SIGKILL', 'SIGSTOP'] as const)
              tookMs[signal].push(await round(cloud, prober, signal))
          }
          await prober.stop()
          return tookMs
        })
        for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
          const worst = Math.max(...result[signal])
          const fault = `etcd leader ${signal === 'SIGKILL' ? 'killed' : 'stopped'}, etcd ${name}`
          const ok = worst <= barMs
          report({
            id: 'F7',
            fault,
            figure: `writes after ${ms(worst)} (worst)`,
            bar: `<= ${ms(barMs)}`,
            ok,
            n: rounds,
          })
          expect.soft(worst).toBeLessThanOrEqual(barMs)
        }
      })
    })
  })
}
