/** F4-F6: links that are cut, in network namespaces: the leader from etcd, from its peers, one way and another. */
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { titled, whyNoNetwork } from './support/capabilities.js'
import { type Attempt, nowMs, Prober } from './support/clients.js'
import type { FaultCloud } from './support/cloud.js'
import { sleep, underClients, withCloud } from './support/rounds.js'
import { ms, report } from './support/rows.js'

const reason = whyNoNetwork()
const rounds = 3
const cutMs = 8_000
/** Long enough for a flapping leadership to show itself more than once. */
const peersCutMs = 30_000

const termNow = async (cloud: FaultCloud): Promise<number> => (await cloud.leader()).term

describe(titled('F4, the leader cut from etcd only', reason), () => {
  it.skipIf(reason !== undefined)('stops serving writes, and has a successor', async () => {
    await withCloud({ network: true }, async cloud => {
      const prober = new Prober(cloud).start()
      const { result } = await underClients(cloud, async () => {
        const found: { stoppedMs: number; successorMs: number }[] = []
        for (let i = 0; i < rounds; i++) {
          const { index } = await cloud.settledLeader()
          const elsewhere = (each: Attempt): boolean => each.replica !== index
          const fromMs = nowMs()
          for (const each of cloud.etcd) cloud.network!.cut(cloud.replicas[index]!.place, each.place)
          await waitUntil('a placement is acknowledged', () => prober.firstDoneSince(fromMs, elsewhere) !== undefined)
          const successorMs = prober.firstDoneSince(fromMs, elsewhere)!.answeredMs - fromMs
          await sleep(Math.max(0, cutMs - (nowMs() - fromMs)))
          // What it still acknowledged after it was cut was written before.
          const served = prober.attempts.filter(
            each => !elsewhere(each) && each.status === 201 && each.answeredMs > fromMs,
          )
          cloud.network!.heal()
          found.push({ stoppedMs: Math.max(0, ...served.map(each => each.answeredMs - fromMs)), successorMs })
          await cloud.restartReplica(index)
        }
        await prober.stop()
        return found
      })
      const stoppedMs = Math.max(...result.map(each => each.stoppedMs))
      const successorMs = Math.max(...result.map(each => each.successorMs))
      const ok = stoppedMs <= 2_000 && successorMs <= 3_500
      const figure = `last write served after ${ms(stoppedMs)}, next placement elsewhere after ${ms(successorMs)}`
      report({ id: 'F4', fault: 'leader cut from etcd', figure, bar: '<= 2000 ms, <= 3500 ms', ok, n: rounds })
      expect.soft(stoppedMs).toBeLessThanOrEqual(2_000)
      expect.soft(successorMs).toBeLessThanOrEqual(3_500)
    })
  })
})

/** Distinct terms that began while links were cut, and how long nothing was placed. */
async function cutAndCount(cloud: FaultCloud, forMs: number, cut: () => void): Promise<number> {
  const terms = new Set([await termNow(cloud)])
  cut()
  const untilMs = nowMs() + forMs
  while (nowMs() < untilMs) {
    for (const each of await Promise.all([0, 1, 2].map(i => cloud.leaderAt(i)))) if (each) terms.add(each.term)
    await sleep(100)
  }
  cloud.network!.heal()
  await sleep(500)
  terms.add(await termNow(cloud))
  return terms.size - 1
}

describe(titled('F5, the leader cut from its peers, not from etcd', reason), () => {
  it.skipIf(reason !== undefined)('changes leader once at most, and does not flap', async () => {
    await withCloud({ network: true }, async cloud => {
      const { result: changes } = await underClients(cloud, async () => {
        const { index } = await cloud.settledLeader()
        const others = cloud.replicas.filter((_, i) => i !== index)
        return cutAndCount(cloud, peersCutMs, () => {
          for (const other of others) cloud.network!.cut(cloud.replicas[index]!.place, other.place)
        })
      })
      const figure = `${changes} changes of leader in ${peersCutMs / 1000} s`
      report({ id: 'F5', fault: 'leader cut from its peers', figure, bar: '<= 1', ok: changes <= 1, n: 1 })
      expect.soft(changes).toBeLessThanOrEqual(1)
    })
  })
})

describe(titled('F6, one-way cuts', reason), () => {
  it.skipIf(reason !== undefined)(
    'change the leader once at most, in each direction of each pair',
    async () => {
      await withCloud({ network: true }, async cloud => {
        const all = [...cloud.replicas, ...cloud.etcd]
        const pairs = all.flatMap((from, i) =>
          all.flatMap((to, j) => (i === j || (i > 2 && j > 2) ? [] : [{ from, to }])),
        )
        const { result } = await underClients(cloud, async () => {
          const found: { name: string; changes: number }[] = []
          for (const { from, to } of pairs) {
            const settled = await cloud.settledLeader()
            const name = `${from.id} to ${to.id} (${cloud.replicas[settled.index]!.id} led)`
            const changes = await cutAndCount(cloud, 5_000, () => cloud.network!.cutOneWay(from.place, to.place))
            found.push({ name, changes })
          }
          return found
        })
        const worst = Math.max(...result.map(each => each.changes))
        const many = result.filter(each => each.changes > 1).map(each => `${each.name}: ${each.changes}`)
        const figure = `at most ${worst} changes of leader in 5 s${many.length > 0 ? `; ${many.join(', ')}` : ''}`
        const fault = 'one-way cuts, replicas with replicas and with etcd'
        report({ id: 'F6', fault, figure, bar: '<= 1 for each pair', ok: worst <= 1, n: pairs.length })
        expect.soft(many).toEqual([])
      })
    },
    560_000,
  )
})
