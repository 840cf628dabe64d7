/** An etcd that was put back from a backup: time went back, and whoever reads on must notice. */
import { execFileSync, spawn } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { Keys } from '../../src/store/keys.js'
import { ReplicaMap } from '../../src/store/replica-map.js'
import { EtcdTransport } from '../../src/store/transport.js'
import { writeValue } from '../../src/store/values.js'
import { freePorts, startEtcd, waitUntil } from '../support/etcd.js'
import { testClock } from '../support/plain-store.js'
import { aMothership } from '../support/records.js'
import { chance, memoryOf, quiet, rangeOf } from '../support/stores.js'

const keys = new Keys('test')

/** A new etcd from the backup, as an operator makes it. Resolves with its url and what ends it. */
async function restore(backup: string, dir: string): Promise<{ url: string; stop(): Promise<void> }> {
  const [client, peer] = (await freePorts(2)).map(port => `http://127.0.0.1:${port}`) as [string, string]
  const member = ['--name', 'r0', '--data-dir', join(dir, 'r0'), '--initial-cluster', `r0=${peer}`]
  const same = [...member, '--initial-advertise-peer-urls', peer, '--initial-cluster-token', 'restored']
  const env = { ...process.env, ETCDCTL_API: '3' }
  execFileSync('etcdctl', ['snapshot', 'restore', backup, ...same], { env, stdio: 'pipe' })
  const urls = ['--listen-client-urls', client, '--advertise-client-urls', client, '--listen-peer-urls', peer]
  const child = spawn('etcd', [...same, ...urls, '--log-level', 'error', '--logger', 'zap'], { stdio: 'ignore' })
  const gone = new Promise<void>(resolve => child.once('exit', () => resolve()))
  const kill = (): boolean => child.kill('SIGKILL')
  process.once('exit', kill)
  const stop = async (): Promise<void> => {
    process.off('exit', kill)
    kill()
    await gone
  }
  await waitUntil('the restored etcd is healthy', async () => {
    const answer = await fetch(`${client}/health`, { signal: AbortSignal.timeout(2_000) }).catch(() => undefined)
    return answer?.ok === true
  })
  return { url: client, stop }
}

it("makes a replica read everything anew when etcd was put back from a backup, and shows the new era's order", async () => {
  const dir = mkdtempSync(join(tmpdir(), 'rain-restored-'))
  const before = await startEtcd(1)
  const writer = new EtcdTransport(before.urls, 0)
  const mothership = (id: string, address: string) => {
    const value = writeValue('motherships', aMothership(id, { address }))
    return { put: keys.record('motherships', id), value }
  }
  const era = (number: number) => ({
    put: keys.record('era', ''),
    value: writeValue('era', { schema: 1, era: number }),
  })
  await writer.txn(
    { compare: [], success: [era(1), mothership('kept', 'ws://a:1'), mothership('back', 'ws://a:1')] },
    5_000,
  )
  const backup = join(dir, 'backup.db')
  const env = { ...process.env, ETCDCTL_API: '3' }
  execFileSync('etcdctl', ['--endpoints', before.urls[0]!, 'snapshot', 'save', backup], { env, stdio: 'pipe' })
  for (let i = 0; i < 5; i++) {
    await writer.txn(
      { compare: [], success: [mothership('back', `ws://b${i}:1`), mothership('late', 'ws://a:1')] },
      5_000,
    )
  }
  const after = await restore(backup, dir)
  const etcd = new EtcdTransport([before.urls[0]!, after.url], 0)
  const resyncs: string[] = []
  const events = { onResync: (reason: string) => void resyncs.push(reason) }
  const map = new ReplicaMap({ etcd, keys, clock: testClock, chance, log: quiet, events })
  const restored = new EtcdTransport([after.url], 0)
  try {
    await map.open()
    const last = map.map.order
    expect(map.map.get('motherships', 'late')).toBeDefined()
    await before.kill(0)
    await waitUntil('what came after the backup is gone', () => map.map.get('motherships', 'late') === undefined)
    expect(resyncs).toContain('etcd was put back to an earlier state')
    expect(map.map.get('motherships', 'back')?.value.address).toBe('ws://a:1')
    expect(map.map.order.revision).toBeLessThan(last.revision)
    expect(memoryOf(map.map)).toEqual(await rangeOf(restored, map.map.order.revision))

    // What an operator's restore does next: from here on every order is later than any of before.
    await restored.txn({ compare: [], success: [era(2)] }, 5_000)
    await waitUntil('the new era is known', () => map.map.order.era === 2)
    expect(memoryOf(map.map)).toEqual(await rangeOf(restored, map.map.order.revision))
    await map.waitFor(last, 1)
  } finally {
    map.close()
    for (const each of [etcd, writer, restored]) await each.close()
    await after.stop()
    await before.stop()
    rmSync(dir, { recursive: true, force: true })
  }
})
