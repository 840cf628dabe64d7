/** F24: a replica is killed, and a thousand nodes look for another one at once. */
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { nowMs } from './support/clients.js'
import { Nodes } from './support/nodes.js'
import { sleep, underClients, withCloud } from './support/rounds.js'
import { ms, quantile, report } from './support/rows.js'

const count = 1_000
const ids = Array.from({ length: count }, (_, i) => `r${i + 1}`)
const lagOf = (text: string): number =>
  Number(/^rain_nodejs_eventloop_lag_p99_seconds ([\d.e-]+)$/m.exec(text)?.[1] ?? 0)

describe('F24, a thousand nodes', () => {
  it('find another replica when theirs is killed', async () => {
    await withCloud({ nodes: ids.map(id => `rainserver/${id}`) }, async cloud => {
      const nodes = new Nodes()
      try {
        const { result } = await underClients(cloud, async () => {
          const victim = ((await cloud.settledLeader()).index + 1) % 3
          await nodes.start(cloud, victim, ids, 8)
          await waitUntil('all nodes are live', () => nodes.live.size === count, 90_000)
          nodes.lost.clear()
          const killedMs = nowMs()
          await cloud.replicas[victim]!.process.end()
          const lags: number[] = []
          await sleep(500)
          await waitUntil(
            'all nodes are live again',
            async () => {
              for (const [i, each] of cloud.replicas.entries())
                if (each.process.alive) lags.push(lagOf(await cloud.metrics(i)))
              return nodes.live.size === count
            },
            60_000,
          )
          const backMs = [...nodes.lost.keys()].map(id => nodes.live.get(id)! - killedMs)
          await cloud.restartReplica(victim)
          return { backMs, lagMs: Math.max(...lags) * 1_000 }
        })
        const { backMs, lagMs } = result
        const [most, all] = [quantile(backMs, 0.95), Math.max(...backMs)]
        const figure = `${backMs.length} of ${count} moved: 95 % after ${ms(most)}, all after ${ms(all)}; event loop p99 ${ms(lagMs)}`
        const ok = most <= 5_000 && all <= 15_000 && lagMs < 200
        report({
          id: 'F24',
          fault: '1,000 nodes reconnect',
          figure,
          bar: '<= 5 s, <= 15 s, < 200 ms',
          ok,
          n: backMs.length,
        })
        expect(backMs.length).toBeGreaterThan(0)
        expect.soft([most <= 5_000, all <= 15_000]).toEqual([true, true])
        expect.soft(lagMs).toBeLessThan(200)
      } finally {
        await nodes.stop()
      }
    })
  })
})
