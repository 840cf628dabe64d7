/** F10: the disk of one member of etcd is full: that member dies, the cluster serves. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { titled, whyNoSmallDisk } from './support/capabilities.js'
import { nowMs, Prober } from './support/clients.js'
import type { FaultCloud } from './support/cloud.js'
import { fillDisk } from './support/disk.js'
import { underClients, withCloud } from './support/rounds.js'
import { ms, report } from './support/rows.js'

const diskMiB = 256
const barMs = 4_000
const reason = whyNoSmallDisk()

/** Members keep room ahead of what they write: it takes some megabytes until one needs more. */
async function writeUntilItDies(cloud: FaultCloud, member: number): Promise<void> {
  const { process } = cloud.etcd[member]!
  const value = Buffer.alloc(200_000)
  for (let i = 0; process.alive && i < 2_000; i++) {
    await cloud.log.client.txn({ compare: [], success: [{ put: `/filler/${i}`, value }] }, 3_000).catch(() => undefined)
  }
  await waitUntil('the member with the full disk dies', () => !process.alive, 10_000)
}

describe(titled('F10, the disk of one member of etcd full', reason), () => {
  it.skipIf(reason !== undefined)('goes on writing when that member dies, be it the leader', async () => {
    const disk = mkdtempSync(join(tmpdir(), 'rain-disk-'))
    spawnSync('mount', ['-t', 'tmpfs', '-o', `size=${diskMiB}m`, 'tmpfs', disk])
    try {
      await withCloud({ etcdDirectory: member => (member === 0 ? join(disk, 'e1') : undefined) }, async cloud => {
        const prober = new Prober(cloud).start()
        const { result } = await underClients(cloud, async () => {
          await cloud.settledLeader()
          const led = (await cloud.etcdLeader()) === 0
          fillDisk(disk)
          const fromMs = nowMs()
          await writeUntilItDies(cloud, 0)
          const diedMs = nowMs()
          await waitUntil('a write is acknowledged', () => prober.firstDoneSince(diedMs) !== undefined, 20_000)
          await prober.stop()
          return { led, gapMs: longestGapMs(prober, fromMs, prober.firstDoneSince(diedMs)!.answeredMs) }
        })
        const fault = `disk of one etcd member full${result.led ? ' (the leader)' : ''}`
        const ok = result.gapMs <= barMs
        report({
          id: 'F10',
          fault,
          figure: `longest gap of writes ${ms(result.gapMs)}`,
          bar: `<= ${ms(barMs)}`,
          ok,
          n: 1,
        })
        expect.soft(result.gapMs).toBeLessThanOrEqual(barMs)
      })
    } finally {
      spawnSync('umount', ['-l', disk])
      rmdirSync(disk)
    }
  })
})

/** Between one acknowledgement and the next. */
function longestGapMs(prober: Prober, fromMs: number, toMs: number): number {
  const times = prober.attempts
    .filter(each => each.status === 201 && each.answeredMs >= fromMs && each.answeredMs <= toMs)
    .map(each => each.answeredMs)
  return [fromMs, ...times.sort((a, b) => a - b)].reduce(
    (most, at, i, all) => Math.max(most, at - (all[i - 1] ?? at)),
    0,
  )
}
