/** F9: etcd has no space left (the NOSPACE alarm): the cloud reads on, says so, and writes again when there is room. */
import { execFileSync } from 'node:child_process'
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { nowMs, Prober } from './support/clients.js'
import type { FaultCloud } from './support/cloud.js'
import { sleep, underClients, withCloud } from './support/rounds.js'
import { ms, report } from './support/rows.js'

const filler = '/filler/'

/** Puts until there is no room any more. */
async function fill(cloud: FaultCloud): Promise<void> {
  const value = Buffer.alloc(1_000_000)
  for (let i = 0; i < 200; i++) {
    const put = { put: `${filler}${i % 4}`, value }
    try {
      await cloud.log.client.txn({ compare: [], success: [put] }, 5_000)
    } catch (error) {
      if (/space exceeded/.test((error as Error).message)) return
    }
  }
  throw new Error('etcd was not filled')
}

const etcdctl = (cloud: FaultCloud, ...args: string[]): string =>
  execFileSync('etcdctl', ['--endpoints', cloud.etcd.map(each => each.url).join(','), ...args], {
    env: { ...process.env, ETCDCTL_API: '3' },
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'ignore'],
  })

/** What an operator does. */
async function makeRoom(cloud: FaultCloud): Promise<void> {
  // The log of this test is read first: compaction takes the history away.
  etcdctl(cloud, 'compact', String(await cloud.log.catchUp()))
  etcdctl(cloud, 'defrag')
  etcdctl(cloud, 'alarm', 'disarm')
}

describe('F9, etcd without space', () => {
  it('says so within 5 s, reads on without a crash, and writes again within 5 s of making room', async () => {
    await withCloud({ quotaBytes: 24 * 1024 * 1024 }, async cloud => {
      const writes = new Prober(cloud, { everyMs: 100 }).start()
      const reads = new Prober(cloud, { everyMs: 100, ask: rest => rest('GET', '/mothership/m1') }).start()
      const { result } = await underClients(cloud, async () => {
        await fill(cloud)
        const fullMs = nowMs()
        const told = Promise.all(
          [0, 1, 2].map(async each => {
            await waitUntil('health shows it', async () => (await cloud.ready(each))?.['storeFull'] === true, 20_000)
            return nowMs() - fullMs
          }),
        ).catch(() => [Number.POSITIVE_INFINITY])
        await sleep(8_000)
        const toldMs = Math.max(...(await told))
        const refusedFrom = fullMs + toldMs
        const roomMs = nowMs()
        await makeRoom(cloud)
        const madeMs = nowMs()
        await waitUntil('a write is acknowledged', () => writes.firstDoneSince(roomMs) !== undefined, 30_000)
        const backMs = writes.firstDoneSince(roomMs)!.answeredMs - madeMs
        await Promise.all([writes.stop(), reads.stop()])
        return { fullMs, roomMs, toldMs, refusedFrom, backMs }
      })
      const during = (each: { calledMs: number; answeredMs: number }): boolean =>
        each.calledMs >= result.fullMs && each.answeredMs < result.roomMs
      const refused = writes.attempts.filter(each => during(each) && each.calledMs > result.refusedFrom)
      const odd = refused.filter(
        each => each.status !== 503 || each.retryAfter === null || !/NOSPACE/.test(each.detail),
      )
      const unread = reads.attempts.filter(each => during(each) && each.status !== 200).length
      const crashes = cloud.replicas.reduce((sum, each) => sum + each.process.crashes, 0)
      const told = { figure: `health after ${ms(result.toldMs)}`, bar: '<= 5000 ms', ok: result.toldMs <= 5_000 }
      report({ id: 'F9', fault: 'etcd NOSPACE: told', ...told, n: 3 })
      report({
        id: 'F9',
        fault: 'etcd NOSPACE: read-only',
        figure: `${odd.length} writes not refused as they should be, ${unread} reads failed, ${crashes} crashes`,
        bar: '503 with the reason, 0 failed, 0 crashes',
        ok: odd.length === 0 && refused.length > 0 && unread === 0 && crashes === 0,
        n: refused.length,
      })
      const back = {
        figure: `writes after ${ms(Math.max(0, result.backMs))}`,
        bar: '<= 5000 ms',
        ok: result.backMs <= 5_000,
      }
      report({ id: 'F9', fault: 'etcd NOSPACE: room made', ...back, n: 1 })
      expect.soft(result.toldMs).toBeLessThanOrEqual(5_000)
      expect.soft(odd.slice(0, 3)).toEqual([])
      expect.soft([unread, crashes]).toEqual([0, 0])
      expect.soft(result.backMs).toBeLessThanOrEqual(5_000)
    })
  })
})
