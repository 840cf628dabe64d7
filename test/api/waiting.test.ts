/** Waits of calls end when nobody wants to know any more. */
import { afterEach, describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { aHypervisor, secrets, type TestReplica } from '../support/hypervisors.js'

const cleanups: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

/** Counts who listens to the map. */
async function listening(): Promise<{ hypervisor: TestReplica; url: string; listeners: () => number }> {
  const hypervisor = await aHypervisor()
  cleanups.push(() => hypervisor.close())
  const { maps } = hypervisor.replica
  const { onChange } = maps
  let listeners = 0
  maps.onChange = listener => {
    listeners++
    const end = onChange.call(maps, listener)
    let ended = false
    return () => {
      if (!ended) listeners--
      ended = true
      end()
    }
  }
  cleanups.push(async () => void (maps.onChange = onChange))
  const url = await hypervisor.api.listen({ host: '127.0.0.1', port: 0 })
  return { hypervisor, url, listeners: () => listeners }
}

const headers = { user: secrets.viewer }

/** A read that waits for a change which does not come. */
const blocked = (url: string, era: number, signal?: AbortSignal): Promise<Response> =>
  fetch(`${url}/replicas?block=60s&after=${era}.999999999`, { headers, ...(signal ? { signal } : {}) })

describe('a read that waits', () => {
  it('ends when its caller goes away', async () => {
    const { hypervisor, url, listeners } = await listening()
    const leaving = new AbortController()
    const answer = blocked(url, hypervisor.replica.maps.map.order.era, leaving.signal)
    answer.catch(() => undefined)
    await waitUntil('it waits', async () => listeners() === 1)
    leaving.abort()
    await expect(answer).rejects.toThrow()
    await waitUntil('nobody listens', async () => listeners() === 0)
  })

  it('is answered when the replica stops, and does not hold it up', async () => {
    const { hypervisor, url, listeners } = await listening()
    const answer = blocked(url, hypervisor.replica.maps.map.order.era)
    await waitUntil('it waits', async () => listeners() === 1)
    await hypervisor.api.close()
    expect((await answer).status).toBe(200)
    expect(listeners()).toBe(0)
  })
})
