/** F12: the history is compacted away under a watch that is cut, and a watch stalls without a word. */
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { nowMs } from './support/clients.js'
import type { FaultCloud } from './support/cloud.js'
import { sleep, underClients, withCloud } from './support/rounds.js'
import { ms, report } from './support/rows.js'

const rounds = 3
const resyncBarMs = 2_000
/** A watch is called silent after 2.5 s; from then on it has the same time. */
const stallBarMs = 2_500 + resyncBarMs

const appliedAt = async (cloud: FaultCloud, replica: number): Promise<number> =>
  Number(/^rain_map_applied_revision (\d+)$/m.exec(await cloud.metrics(replica))?.[1] ?? 0)
const resyncsAt = async (cloud: FaultCloud, replica: number): Promise<number> =>
  Number(/^rain_map_resyncs_total (\d+)$/m.exec(await cloud.metrics(replica))?.[1] ?? 0)

/** Milliseconds until the replica has all that etcd had then. */
async function caughtUpMs(cloud: FaultCloud, replica: number): Promise<number> {
  const fromMs = nowMs()
  const turn = await cloud.log.client.range({ key: '/rain/main/v1/map/turn' }, 2_000)
  const revision = turn.items[0]!.modified
  await waitUntil('the replica has caught up', async () => (await appliedAt(cloud, replica)) >= revision, 30_000)
  return nowMs() - fromMs
}

const follower = async (cloud: FaultCloud): Promise<number> => ((await cloud.settledLeader()).index + 1) % 3

describe('F12, a watch', () => {
  it('whose history was compacted while it was cut reads the map anew', async () => {
    await withCloud({ proxied: true }, async cloud => {
      const tookMs: number[] = []
      let resyncs = 0
      await underClients(cloud, async () => {
        for (let i = 0; i < rounds; i++) {
          const replica = await follower(cloud)
          const before = await resyncsAt(cloud, replica)
          for (const proxy of cloud.proxies[replica]!) proxy.refuse()
          await sleep(1_000)
          const revision = await cloud.log.catchUp()
          execFileSync('etcdctl', ['--endpoints', cloud.etcd[0]!.url, 'compact', String(revision)], {
            env: { ...process.env, ETCDCTL_API: '3' },
            stdio: 'ignore',
          })
          for (const proxy of cloud.proxies[replica]!) proxy.accept()
          tookMs.push(await caughtUpMs(cloud, replica))
          resyncs += (await resyncsAt(cloud, replica)) - before
        }
      })
      expect(resyncs).toBeGreaterThanOrEqual(rounds)
      const worst = Math.max(...tookMs)
      const figure = `caught up after ${ms(worst)} (worst)`
      const ok = worst <= resyncBarMs
      report({ id: 'F12', fault: 'compaction under a cut watch', figure, bar: '<= 2000 ms', ok, n: rounds })
      expect.soft(worst).toBeLessThanOrEqual(resyncBarMs)
    })
  })

  it('that stalls without a word is left for another one', async () => {
    await withCloud({ proxied: true }, async cloud => {
      const tookMs: number[] = []
      await underClients(cloud, async () => {
        for (let i = 0; i < rounds; i++) {
          const replica = await follower(cloud)
          const stalled = cloud.proxies[replica]!.filter(each => each.connections > 0)
          // All that is open stalls; a new connection, to another member, is served.
          for (const proxy of stalled) proxy.stallOpen()
          await sleep(500)
          tookMs.push(500 + (await caughtUpMs(cloud, replica)))
          for (const proxy of stalled) proxy.cut()
        }
      })
      const worst = Math.max(...tookMs)
      const figure = `caught up after ${ms(worst)} (worst)`
      const ok = worst <= stallBarMs
      report({ id: 'F12', fault: 'watch stalled', figure, bar: '2.5 s of silence + 2000 ms', ok, n: rounds })
      expect.soft(worst).toBeLessThanOrEqual(stallBarMs)
    })
  })
})
