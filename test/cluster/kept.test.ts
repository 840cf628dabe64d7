/**
 * An instance that keeps state, on a cloud of real processes: what was acknowledged is there after its mothership was
 * killed, after all of them were, and wherever it is read.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startCloud, type TestCloud } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'
import { type Json, type Rest, restOf } from '../support/rest.js'
import { addOnce, readLog, tally } from '../support/tally.js'

const args = ['--etcd', '1', '--replicas', '2', '--motherships', '3', '--rain-servers', '1']
let cloud: TestCloud
let rest: Rest
beforeAll(async () => {
  cloud = await startCloud({ args })
  rest = restOf(cloud.state().api, cloud.state().tokens.admin)
}, 120_000)
afterAll(async () => {
  await cloud.close()
})

const pages = (): string => cloud.state().pages
const pathOf = (name: string): string => `${pages()}/tally/1.0/controller/${name}`

async function instanceOf(id: string): Promise<Json> {
  return (await rest('GET', `/webcomponent/${id}`)).body
}

/** Until it is acknowledged; under its id it is done once, however often it is sent. */
async function add(id: string): Promise<number> {
  for (;;) {
    const place = await addOnce(pathOf('add'), id, 8_000)
    if (place !== undefined) return place
    await new Promise(resolve => setTimeout(resolve, 50))
  }
}

const log = (): Promise<readonly string[]> => readLog(pathOf('add'))

const pidOf = (mothership: string): number => cloud.state().motherships.find(each => each.id === mothership)!.pid
const inSync = async (): Promise<readonly string[]> => (await instanceOf('tally.main'))['inSync'] as unknown as string[]

describe('an instance that keeps state', () => {
  const acknowledged: string[] = []

  it('is started with two copies, both in sync', async () => {
    expect((await rest('POST', '/webcomponent', await tally('tally'))).status).toBe(201)
    const started = await rest('POST', '/webcomponent/tally/1.0', { id: 'tally.main', placement: { copies: 2 } })
    expect([started.status, started.text]).toEqual([201, expect.anything()])
    await waitUntil('both are in sync', async () => (await inSync()).length === 2, 20_000)
    for (let n = 0; n < 20; n++) {
      expect(await add(`first ${n}`)).toBe(n + 1)
      acknowledged.push(`first ${n}`)
    }
    expect(await log()).toEqual(acknowledged)
  }, 60_000)

  it('goes on at another copy when the mothership of its primary is killed, and has two copies again', async () => {
    const before = await instanceOf('tally.main')
    const primary = before['primary'] as unknown as string
    process.kill(pidOf(primary), 'SIGKILL')
    for (let n = 0; n < 20; n++) {
      expect(await add(`second ${n}`)).toBe(acknowledged.length + 1)
      acknowledged.push(`second ${n}`)
    }
    const after = await instanceOf('tally.main')
    expect(after['primary']).not.toBe(primary)
    expect(Number(after['epoch'])).toBeGreaterThan(Number(before['epoch']))
    await waitUntil('two are in sync', async () => (await inSync()).length === 2, 30_000)
    expect(await log()).toEqual(acknowledged)
  }, 90_000)

  it('is read as it is now at every copy, and as old as one allows', async () => {
    const page = async (query: string): Promise<string> => (await fetch(`${pages()}/tally${query}`)).text()
    const expected = `${acknowledged.length} of ${acknowledged.at(-1)} at ${acknowledged.length}`
    // Other sessions are other copies' pages.
    for (let n = 0; n < 12; n++) expect(await page('')).toContain(expected)
    await waitUntil('old ones are new enough', async () => (await page('?stale=60000')).includes(expected), 5_000)
  })

  it('is there when all of the cloud was stopped and started again', async () => {
    const { dataDir, portBase } = cloud
    await cloud.stop()
    cloud = await startCloud({ args, dataDir, portBase })
    rest = restOf(cloud.state().api, cloud.state().tokens.admin)
    expect(await add('third')).toBe(acknowledged.push('third'))
    expect(await log()).toEqual(acknowledged)
    await waitUntil('two are in sync', async () => (await inSync()).length === 2, 30_000)
  }, 120_000)

  it('with one copy is shown unavailable while its mothership is away, and is there when that is', async () => {
    const started = await rest('POST', '/webcomponent/tally/1.0', { id: 'tally.alone', placement: { copies: 1 } })
    expect(started.status).toBe(201)
    const phase = async (): Promise<unknown> => (await instanceOf('tally.alone'))['phase']
    await waitUntil('it runs', async () => (await phase()) === 'running', 20_000)
    const { primary } = await instanceOf('tally.alone')
    const pid = pidOf(primary as unknown as string)
    process.kill(pid, 'SIGSTOP')
    try {
      await waitUntil('it is unavailable', async () => (await phase()) === 'unavailable', 20_000)
    } finally {
      process.kill(pid, 'SIGCONT')
    }
    await waitUntil('it runs again', async () => (await phase()) === 'running', 20_000)
    expect((await instanceOf('tally.alone'))['primary']).toEqual(primary)
  }, 90_000)
})
