/**
 * A short run of clients against real replicas while the leader is killed and the next one is paused: what they were
 * told is linearizable, and etcd's own log agrees. The long runs are `npm run test:faults`.
 */
import { describe, expect, it } from 'vitest'
import { judge } from '../faults/support/checks.js'
import { type Clients, startClients } from '../faults/support/clients.js'
import { FaultCloud } from '../faults/support/cloud.js'
import { waitUntil } from '../support/etcd.js'

const enough = 40

/** So much more was acknowledged since. */
function progress(clients: Clients): Promise<void> {
  const done = (): number => clients.history.filter(each => each.outcome === 'done').length
  const before = done()
  return waitUntil('clients go on', () => done() >= before + enough, 30_000)
}

describe('REST under a kill and a pause of the leader', () => {
  it('is linearizable, and loses nothing that was acknowledged', async () => {
    const cloud = await FaultCloud.start()
    try {
      const clients = await startClients(cloud)
      await progress(clients)
      const first = await cloud.leader()
      await cloud.replicas[first.index]!.process.end()
      const others = [0, 1, 2].filter(each => each !== first.index)
      await waitUntil('another leads', async () => (await cloud.leader(20_000, others)).term > first.term)
      await progress(clients)
      const second = await cloud.leader(20_000, others)
      await cloud.restartReplica(first.index)
      const { process } = cloud.replicas[second.index]!
      process.signal('SIGSTOP')
      const awake = [0, 1, 2].filter(each => each !== second.index)
      await waitUntil('a third term begins', async () => (await cloud.leader(20_000, awake)).term > second.term)
      process.signal('SIGCONT')
      await progress(clients)
      await clients.stop()

      const verdict = await judge(cloud, clients.history)
      expect(verdict.violations).toEqual([])
      expect(verdict.acknowledged).toBeGreaterThan(3 * enough)
      expect(verdict.terms).toBeGreaterThanOrEqual(3)
    } finally {
      await cloud.close()
    }
  }, 120_000)
})
