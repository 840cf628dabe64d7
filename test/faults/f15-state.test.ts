/** F15, F16 and F23: motherships with kept state are killed and paused while the state is changed without a pause. */
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { StateCloud } from '../support/state-cloud.js'
import { Adders, readLog, violationsOf } from '../support/tally.js'
import { ms, quantile, report } from './support/rows.js'

const instances = ['tally1', 'tally2', 'tally3', 'tally4']
const kills = 12

interface Gap {
  readonly instance: string
  readonly forMs: number
}

/** Until every instance that lost its primary with that mothership acknowledges what was sent after the fault. */
async function promotions(cloud: StateCloud, adders: ReadonlyMap<string, Adders>, fault: (mothership: string) => void) {
  const primaries = new Map<string, string>()
  for (const each of instances) primaries.set(each, await cloud.primary(`${each}.main`))
  const victim = [...primaries.values()].sort()[Math.floor(Math.random() * primaries.size)]!
  const atMs = performance.now()
  fault(victim)
  const gaps: Gap[] = []
  for (const [instance, primary] of primaries) {
    if (primary !== victim) continue
    await waitUntil(`${instance} is changed again`, () => adders.get(instance)!.firstSince(atMs) !== undefined, 30_000)
    gaps.push({ instance, forMs: adders.get(instance)!.firstSince(atMs)!.ackedMs - atMs })
  }
  return { victim, gaps }
}

async function underAdders<T>(cloud: StateCloud, run: (adders: ReadonlyMap<string, Adders>) => Promise<T>): Promise<T> {
  const adders = new Map(instances.map(each => [each, new Adders(cloud.urlOf(each), each, 2)]))
  try {
    for (const each of adders.values()) await waitUntil('it is changed', () => each.added.length > 3, 30_000)
    return await run(adders)
  } finally {
    const lost: string[] = []
    for (const [instance, each] of adders) {
      const added = await each.stop()
      await waitUntil(
        `${instance} can be read`,
        () => readLog(cloud.urlOf(instance)).then(Boolean, () => false),
        30_000,
      )
      lost.push(...violationsOf(added, await readLog(cloud.urlOf(instance))))
    }
    expect(lost.slice(0, 10)).toEqual([])
  }
}

async function withState<T>(motherships: number, run: (cloud: StateCloud) => Promise<T>): Promise<T> {
  const cloud = await StateCloud.start({ motherships })
  try {
    for (const each of instances) await cloud.keep(each, 2)
    return await run(cloud)
  } finally {
    await cloud.close()
  }
}

const wholeAgain = async (cloud: StateCloud): Promise<void> => {
  for (const each of instances) await cloud.isWhole(`${each}.main`, 2)
}

describe('F15, a mothership with kept state is killed', () => {
  it('another copy is promoted, and nothing that was acknowledged is lost', async () => {
    await withState(3, async cloud => {
      const found = await underAdders(cloud, async adders => {
        const gaps: Gap[] = []
        for (let n = 0; n < kills; n++) {
          const round = await promotions(cloud, adders, id => cloud.mothership(id).process.signal('SIGKILL'))
          gaps.push(...round.gaps)
          const { process } = cloud.mothership(round.victim)
          await process.end()
          process.start()
          await wholeAgain(cloud)
        }
        return gaps.map(each => each.forMs)
      })
      const [median, p99] = [quantile(found, 0.5), quantile(found, 0.99)]
      const ok = p99 <= 1_000
      const figure = `promoted and serving after ${ms(median)} (median), ${ms(p99)} (p99); nothing lost`
      report({
        id: 'F15',
        fault: 'mothership killed, its end seen',
        figure,
        bar: 'p99 <= 1000 ms',
        ok,
        n: found.length,
      })
      expect(found.length).toBeGreaterThan(0)
      expect.soft(p99).toBeLessThanOrEqual(1_000)
    })
  }, 600_000)
})

describe('F16, a mothership with kept state is paused past the promotion of another copy', () => {
  it('its old epoch acknowledges nothing more, and one history is there', async () => {
    await withState(3, async cloud => {
      const found = await underAdders(cloud, async adders => {
        const gaps: number[] = []
        for (let n = 0; n < 4; n++) {
          const round = await promotions(cloud, adders, id => cloud.mothership(id).process.signal('SIGSTOP'))
          gaps.push(...round.gaps.map(each => each.forMs))
          cloud.mothership(round.victim).process.signal('SIGCONT')
          await wholeAgain(cloud)
        }
        return gaps
      })
      const p99 = quantile(found, 0.99)
      const ok = p99 <= 4_000
      const figure = `promoted and serving after ${ms(quantile(found, 0.5))} (median), ${ms(p99)} (p99); one history`
      report({ id: 'F16', fault: 'mothership paused, resumed', figure, bar: 'p99 <= 4000 ms', ok, n: found.length })
      expect.soft(p99).toBeLessThanOrEqual(4_000)
    })
  }, 300_000)
})

describe('F23, all copies in sync are lost', () => {
  it('nothing is promoted by itself; an operator forces, and is told what it costs', async () => {
    const cloud = await StateCloud.start({ motherships: 3 })
    try {
      const id = await cloud.keep('tally', 2)
      const adders = new Adders(cloud.urlOf('tally'), 'a', 2)
      await waitUntil('it is changed', () => adders.added.length >= 20, 30_000)
      await adders.stop()
      const { epoch } = await cloud.instance(id)
      const held = await cloud.inSync(id)
      await Promise.all(held.map(each => cloud.mothership(each).process.end()))
      const phase = async (): Promise<string> => String((await cloud.instance(id))['phase'])
      await waitUntil('it is unavailable', async () => (await phase()) === 'unavailable', 20_000)
      // Longer than a mothership is waited for.
      const settings = (await cloud.rest('GET', '/settings')).body
      await new Promise(resolve => setTimeout(resolve, Number(settings['lostAfterMs']) + 5_000))
      const waits = await cloud.instance(id)
      expect([waits['phase'], [...((waits['inSync'] ?? []) as unknown as string[])].sort()]).toEqual([
        'unavailable',
        [...held].sort(),
      ])
      expect(waits['epoch']).toBe(epoch)
      const other = cloud.motherships.find(each => !held.includes(each.id))!.id
      const body = { promote: other, acceptLoss: true }
      const forced = await cloud.rest('POST', `/webcomponent/${id}/force`, body)
      expect(forced.status).toBe(202)
      await waitUntil('it runs', async () => (await phase()) === 'running', 30_000)
      const url = cloud.urlOf('tally')
      await waitUntil('it can be read', () => readLog(url).then(Boolean, () => false), 30_000)
      expect(await readLog(url)).toEqual([])
      report({
        id: 'F23',
        fault: 'last copies in sync lost',
        figure: 'unavailable until forced',
        bar: 'no stale promotion',
        ok: true,
        n: 1,
      })
    } finally {
      await cloud.close()
    }
  }, 180_000)
})
