/**
 * Any one process of a whole cloud is killed while pages are asked for and instances are started: pages come again
 * within 5 s, nothing that was acknowledged is lost, and `up` starts the process again.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { UpState } from '../../src/cli/up/state.js'
import { startCloud, type TestCloud } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'
import { restOf } from '../support/rest.js'

let cloud: TestCloud
beforeAll(async () => {
  cloud = await startCloud()
})
afterAll(async () => {
  await cloud.close()
})

const servedWithinMs = 5_000
/** So many pages in a row, whole, are pages that are served. */
const inARow = 10

interface Victim {
  readonly name: string
  readonly pid: (state: UpState, leader: string) => number
}

const victims: readonly Victim[] = [
  { name: 'an etcd member', pid: state => state.etcd[0]!.pid },
  { name: 'the leading replica', pid: (state, leader) => state.replicas.find(each => each.id === leader)!.pid },
  { name: 'another replica', pid: (state, leader) => state.replicas.find(each => each.id !== leader)!.pid },
  { name: 'a mothership', pid: state => state.motherships[0]!.pid },
  { name: 'a rain server', pid: state => state.rainServers[0]!.pid },
  { name: 'the balancer agent', pid: state => state.balancers[0]!.pid },
  { name: 'HAProxy', pid: state => state.balancers[0]!.haproxyPid },
]

async function pageIsWhole(): Promise<boolean> {
  const options = { headers: { accept: 'text/html' }, signal: AbortSignal.timeout(4_000) }
  const answer = await fetch(`${cloud.state().pages}/shop/index`, options).catch(() => undefined)
  const text = await answer?.text().catch(() => '')
  return answer?.status === 200 && text !== undefined && text.includes('Umbrella')
}

/** Starts instances one after the other through HAProxy until it is stopped; what was acknowledged is kept. */
function startInstances(): { readonly acknowledged: string[]; stop(): Promise<void> } {
  const { api, tokens } = cloud.state()
  const rest = restOf(api, tokens.operator)
  const acknowledged: string[] = []
  let going = true
  const body = { need: { cpu: 0, ram: 0, bandwidth: 0 }, placement: { copies: 1 } }
  const loop = (async () => {
    while (going) {
      const answer = await rest('POST', '/webcomponent/footer/1.0', body).catch(() => undefined)
      if (answer?.status === 201) acknowledged.push(answer.body['id'] as unknown as string)
      await new Promise(resolve => setTimeout(resolve, 20))
    }
  })()
  return {
    acknowledged,
    stop: async () => {
      going = false
      await loop
    },
  }
}

async function leader(): Promise<string> {
  const { replicas } = cloud.state()
  for (const { url } of replicas) {
    const answer = await fetch(`${url}/readyz`).catch(() => undefined)
    const ready = (await answer?.json().catch(() => undefined)) as { leader?: string } | undefined
    if (ready?.leader) return ready.leader
  }
  return ''
}

const allRun = ({ etcd, replicas, motherships, rainServers, balancers }: UpState): boolean =>
  [...etcd, ...replicas, ...motherships, ...rainServers].every(each => each.pid > 0) &&
  balancers.every(each => each.pid > 0 && each.haproxyPid > 0)

describe('kill -9', () => {
  for (const { name, pid } of victims) {
    it(`of ${name}: pages come again, nothing acknowledged is lost`, async () => {
      await waitUntil('there is a leader', async () => (await leader()) !== '')
      const before = cloud.state()
      const victim = pid(before, await leader())
      const { acknowledged, stop } = startInstances()
      await waitUntil('instances are started', () => acknowledged.length > 0)
      process.kill(victim, 'SIGKILL')

      let row = 0
      await waitUntil(
        'pages are served',
        async () => {
          row = (await pageIsWhole()) ? row + 1 : 0
          return row >= inARow
        },
        servedWithinMs,
      )
      const atKill = acknowledged.length
      await waitUntil('instances are started again', () => acknowledged.length > atKill)
      await stop()

      await waitUntil('the process runs again', () => allRun(cloud.state()) && !pidsOf(cloud.state()).includes(victim))
      const rest = restOf(before.api, before.tokens.viewer)
      for (const id of acknowledged) {
        const answer = await rest('GET', `/webcomponent/${id}?consistency=linearizable`)
        expect([id, answer.status]).toEqual([id, 200])
      }
      await waitUntil('the page is without holes', async () => {
        const answer = await fetch(`${before.pages}/shop/index`).catch(() => undefined)
        return answer?.status === 200 && !(await answer.text()).includes('data-rain-status')
      })
    }, 90_000)
  }
})

describe('etcd without a majority', () => {
  it('stops writes with 503 and a time to come back; reads say how old they are, pages go on; then all is well', async () => {
    const { api, tokens, etcd } = cloud.state()
    const operator = restOf(api, tokens.operator)
    const body = { need: { cpu: 0, ram: 0, bandwidth: 0 }, placement: { copies: 1 } }
    const stopped = etcd.slice(1).map(each => each.pid)
    for (const pid of stopped) process.kill(pid, 'SIGSTOP')
    try {
      await waitUntil('reads say how old they are', async () => {
        const answer = await operator('GET', '/mothership/all')
        return answer.status === 200 && answer.headers.get('x-rain-stale-for') !== null
      })
      const refused = await operator('POST', '/webcomponent/footer/1.0', body)
      expect([refused.status, refused.body['code']]).toEqual([503, 'store-unavailable'])
      expect(Number(refused.headers.get('retry-after'))).toBeGreaterThan(0)
      for (let page = 0; page < inARow; page++) expect(await pageIsWhole()).toBe(true)
      const ready = await fetch(`${cloud.state().replicas[0]!.url}/readyz`)
      expect(ready.status).toBe(200)
    } finally {
      for (const pid of stopped) process.kill(pid, 'SIGCONT')
    }
    await waitUntil('instances are started again', async () => {
      return (await operator('POST', '/webcomponent/footer/1.0', body)).status === 201
    })
    expect(await pageIsWhole()).toBe(true)
  }, 90_000)
})

const pidsOf = (state: UpState): number[] => [
  ...[...state.etcd, ...state.replicas, ...state.motherships, ...state.rainServers].map(each => each.pid),
  ...state.balancers.flatMap(each => [each.pid, each.haproxyPid]),
]
