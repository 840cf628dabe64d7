/** F1, F2 (at the replicas themselves), F3: the leader is killed, stops cleanly, or is paused and comes back. */
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { type Attempt, nowMs, Prober } from './support/clients.js'
import { sleep, underClients, withCloud } from './support/rounds.js'
import { ms, quantile, report } from './support/rows.js'

const kills = 20
const stops = 5
const pauses = 3
const pauseMs = 5_000

interface Gone {
  readonly fromMs: number
  readonly next: Attempt
}

/** What the next placement took that was asked for at another replica since the leader went. */
async function withoutLeader(prober: Prober, index: number, go: () => unknown): Promise<Gone> {
  const elsewhere = (each: Attempt): boolean => each.replica !== index
  const fromMs = nowMs()
  void go()
  await waitUntil('a placement is acknowledged', () => prober.firstDoneSince(fromMs, elsewhere) !== undefined)
  return { fromMs, next: prober.firstDoneSince(fromMs, elsewhere)! }
}

const tookMs = ({ fromMs, next }: Gone): number => next.answeredMs - fromMs

describe('F1, the leader killed', () => {
  it('has a successor that places at once', async () => {
    await withCloud({}, async cloud => {
      const prober = new Prober(cloud, { everyMs: 20 }).start()
      const { result } = await underClients(cloud, async () => {
        const found: number[] = []
        for (let i = 0; i < kills; i++) {
          const { index } = await cloud.settledLeader()
          found.push(tookMs(await withoutLeader(prober, index, () => cloud.replicas[index]!.process.end())))
          await cloud.restartReplica(index)
        }
        await prober.stop()
        return found
      })
      const [median, p99] = [quantile(result, 0.5), quantile(result, 0.99)]
      const figure = `next placement: median ${ms(median)}, worst ${ms(p99)}`
      const ok = p99 <= 100
      report({ id: 'F1', fault: 'leader kill -9', figure, bar: 'p99 <= 100 ms, max 1000 ms', ok, n: kills })
      expect.soft(p99).toBeLessThanOrEqual(100)
    })
  })
})

describe('F2, the leader stopped cleanly', () => {
  it('hands over at once', async () => {
    await withCloud({}, async cloud => {
      const prober = new Prober(cloud, { everyMs: 20 }).start()
      const { result } = await underClients(cloud, async () => {
        const found: number[] = []
        for (let i = 0; i < stops; i++) {
          const { index } = await cloud.settledLeader()
          let ended: Promise<void> | undefined
          const stop = (): void => void (ended = cloud.replicas[index]!.process.end('SIGTERM'))
          found.push(tookMs(await withoutLeader(prober, index, stop)))
          await ended
          await cloud.restartReplica(index)
        }
        await prober.stop()
        return found
      })
      const worst = Math.max(...result)
      const figure = `next placement: median ${ms(quantile(result, 0.5))}, worst ${ms(worst)}`
      report({ id: 'F2', fault: 'leader clean stop', figure, bar: '<= 100 ms', ok: worst <= 100, n: stops })
      expect.soft(worst).toBeLessThanOrEqual(100)
    })
  })
})

describe('F3, the leader paused for 5 s', () => {
  it('has a successor, writes nothing any more, and steps down when it wakes', async () => {
    await withCloud({}, async cloud => {
      const prober = new Prober(cloud).start()
      const { result } = await underClients(cloud, async () => {
        const found: { successorMs: number; downMs: number }[] = []
        for (let i = 0; i < pauses; i++) {
          const { index } = await cloud.settledLeader()
          const { process } = cloud.replicas[index]!
          const gone = await withoutLeader(prober, index, () => process.signal('SIGSTOP'))
          await sleep(Math.max(0, pauseMs - (nowMs() - gone.fromMs)))
          const wokenMs = nowMs()
          process.signal('SIGCONT')
          await waitUntil('it steps down', async () => /^rain_leading 0$/m.test(await cloud.metrics(index)))
          found.push({ successorMs: tookMs(gone), downMs: nowMs() - wokenMs })
        }
        await prober.stop()
        return found
      })
      const successorMs = Math.max(...result.map(each => each.successorMs))
      const downMs = Math.max(...result.map(each => each.downMs))
      const figure = `next placement ${ms(successorMs)}, stepped down ${ms(downMs)} after it woke, 0 stale commits`
      const ok = successorMs <= 1_500 && downMs <= 200
      report({ id: 'F3', fault: 'leader paused 5 s', figure, bar: '<= 1500 ms, <= 200 ms, 0', ok, n: pauses })
      expect.soft(successorMs).toBeLessThanOrEqual(1_500)
      expect.soft(downMs).toBeLessThanOrEqual(200)
    })
  })
})
