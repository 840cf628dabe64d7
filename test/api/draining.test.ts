/** What a replica that stops waits for: over real connections. */
import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import { afterEach, describe, expect, it } from 'vitest'
import { useDraining } from '../../src/api/waiting.js'
import { waitUntil } from '../support/etcd.js'
import { FakeClock } from '../support/fake-clock.js'

let app: FastifyInstance
afterEach(() => app.close())

async function aServer() {
  const clock = new FakeClock()
  const held: (() => void)[] = []
  app = Fastify({ forceCloseConnections: true })
  useDraining(app, clock)
  app.get('/slow', () => new Promise(resolve => held.push(() => resolve('done'))))
  await app.listen({ port: 0, host: '127.0.0.1' })
  const url = `http://127.0.0.1:${(app.server.address() as AddressInfo).port}/slow`
  let drained = false
  const drain = (): void => void app.drained(1_000).then(() => (drained = true))
  return { url, clock, held, drain, drained: () => drained }
}

describe('draining', () => {
  it('is over at once when nothing is on its way', async () => {
    const { drain, drained } = await aServer()
    drain()
    await waitUntil('it is over', drained)
  })

  it('waits for every call that came in', async () => {
    const { url, held, drain, drained } = await aServer()
    const answers = [fetch(url), fetch(url)]
    await waitUntil('both have come', () => held.length === 2)
    drain()
    held[0]!()
    await answers[0]
    expect(drained()).toBe(false)
    held[1]!()
    await waitUntil('it is over', drained)
    expect((await answers[1]!).status).toBe(200)
  })

  it('does not wait for a caller who has gone', async () => {
    const { url, held, drain, drained } = await aServer()
    const abort = new AbortController()
    const answer = fetch(url, { signal: abort.signal }).catch(() => 'gone')
    await waitUntil('it has come', () => held.length === 1)
    drain()
    abort.abort()
    expect(await answer).toBe('gone')
    await waitUntil('it is over', drained)
  })

  it('ends when the time is up', async () => {
    const { url, clock, held, drain, drained } = await aServer()
    void fetch(url).catch(() => undefined)
    await waitUntil('it has come', () => held.length === 1)
    drain()
    clock.advance(1_000)
    await waitUntil('it is over', drained)
  })
})
