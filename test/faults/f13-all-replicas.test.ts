/** F13: all replicas of the hypervisor are killed. Instances keep running, pages go on, and control is back soon after the start. */
import { describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { Firewall } from '../support/hostile-proxies.js'
import { WalledCloud } from '../support/walled-cloud.js'
import { nowMs } from './support/clients.js'
import { sleep } from './support/rounds.js'
import { ms, report } from './support/rows.js'

const awayMs = 15_000

/** Asks for the page all the time, without waiting for the answers before. */
function visitors(url: string, text: string) {
  const counts = { asked: 0, failed: 0 }
  const open = new Set<Promise<void>>()
  const timer = setInterval(() => {
    counts.asked++
    const visit: Promise<void> = fetch(url, { headers: { accept: 'text/html' }, signal: AbortSignal.timeout(10_000) })
      .then(async answer => answer.status === 200 && (await answer.text()).includes(text))
      .catch(() => false)
      .then(good => {
        if (!good) counts.failed++
        open.delete(visit)
      })
    open.add(visit)
  }, 50)
  return {
    counts,
    stop: async () => {
      clearInterval(timer)
      await Promise.all(open)
    },
  }
}

describe('F13, all replicas killed', () => {
  it('leaves instances and pages as they are, and control is back within 5 s of the start', async () => {
    const cloud = await WalledCloud.start(['mothership/m1', 'rainserver/r1'], url => Promise.resolve(url))
    try {
      const mothership = await cloud.startNode({ kind: 'mothership', id: 'm1', flags: { hypervisor: cloud.url } })
      await cloud.startNode({ kind: 'rainserver', id: 'r1', flags: { hypervisor: cloud.url } })
      await cloud.showsNew('before')
      const visits = visitors(`${cloud.pages.get('r1')}/before/index`, 'this is before')
      await cloud.replica.end('SIGKILL')
      await sleep(awayMs)
      cloud.replica.start()
      const fromMs = nowMs()
      await waitUntil(
        'the nodes have sessions and the leader decides',
        async () => {
          const states = await Promise.all([cloud.stateOf('mothership', 'm1'), cloud.stateOf('rainserver', 'r1')])
          if (states.some(each => each !== 'ready')) return false
          const made = await cloud.rest('POST', '/webcomponent/before/1.0', { id: 'before.2' }).catch(() => undefined)
          return made?.status === 201
        },
        60_000,
      )
      const backMs = nowMs() - fromMs
      await cloud.showsNew('after')
      await visits.stop()
      const { asked, failed } = visits.counts
      const ok = failed === 0 && mothership.alive && backMs <= 5_000
      report({
        id: 'F13',
        fault: 'all replicas (one) killed for 15 s',
        figure: `${failed} of ${asked} pages failed; control back after ${ms(backMs)}`,
        bar: '0 failed, <= 5 s',
        ok,
        n: asked,
      })
      expect([failed, mothership.crashes]).toEqual([0, 0])
      expect.soft(backMs).toBeLessThanOrEqual(5_000)
    } finally {
      await cloud.close()
    }
  })
})

describe('F25, a firewall that drops idle connections after 30 s', () => {
  it('drops no session: pings keep them busy; and a held poll, which it does drop, costs nothing', async () => {
    let firewall: Firewall | undefined
    const cloud = await WalledCloud.start(['mothership/m1', 'rainserver/r1'], async url => {
      firewall = await Firewall.start(url)
      return firewall.url
    })
    try {
      firewall!.idleMs = 30_000
      await cloud.startNode({ kind: 'mothership', id: 'm1', flags: { hypervisor: firewall!.url } })
      await cloud.startNode({ kind: 'rainserver', id: 'r1', flags: { hypervisor: firewall!.url } })
      await cloud.showsNew('before')
      const sessions = (): number => cloud.logOf('m1').split('session is live').length - 1
      const had = sessions()
      await sleep(40_000)
      const takenMs = await cloud.showsNew('after')
      const ok = sessions() === had
      report({
        id: 'F25',
        fault: 'idle connections dropped silently after 30 s',
        figure: `${sessions() - had} sessions lost in 40 s; a new component shown after ${ms(takenMs)}`,
        bar: '0 lost',
        ok,
        n: 1,
      })
      expect(ok).toBe(true)
    } finally {
      await cloud.close()
      await firewall?.stop()
    }
  })
})
