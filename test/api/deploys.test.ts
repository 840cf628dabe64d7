/**
 * A thousand deploys of one version at the same time, at two replicas over a real etcd: one of them wins, and what the
 * others stored is gone.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Peers } from '../../src/hypervisor/ports.js'
import { prefixEnd } from '../../src/store/etcd.js'
import { EtcdTransport } from '../../src/store/transport.js'
import { startEtcd, type TestEtcd, waitUntil } from '../support/etcd.js'
import { aHypervisor, type TestReplica } from '../support/hypervisors.js'
import { noPeers } from '../support/no-peers.js'
import { aPackage } from '../support/packages.js'
import type { Answer } from '../support/rest.js'

const callers = 1_000
const prefix = '/rain/test/v1/'

let members: TestEtcd
let etcd: EtcdTransport
let first: TestReplica
let second: TestReplica
beforeAll(async () => {
  members = await startEtcd(1)
  etcd = new EtcdTransport(members.urls, 0)
  const client = { client: () => new EtcdTransport(members.urls, 0) }
  const linkedWith = (id: string, other: () => TestReplica): Peers => ({
    ...noPeers,
    linked: () => [id],
    hears: () => true,
    forward: (_replica, envelope) => other().replica.accept(envelope),
  })
  first = await aHypervisor(
    client,
    'h1',
    linkedWith('h2', () => second),
  )
  second = await aHypervisor(
    client,
    'h2',
    linkedWith('h1', () => first),
  )
})
afterAll(async () => {
  await second.close()
  await first.close()
  await etcd.close()
  await members.stop()
})

/** With code on the server for some, so that the thread that looks at it has its turn as well. */
const component = (id: string, description: string): Promise<Buffer> =>
  aPackage({
    'meta.json': JSON.stringify({ id, version: '1.0', description, views: { index: {} } }),
    'client/templates/index.html': '<p>{{text}}</p>',
    ...(description.endsWith('25')
      ? { 'server/data.js': 'exports.index = (environment, done) => done(null, {})' }
      : {}),
  })

/** All keys of the cloud but those that each transaction, lease and answer has. */
async function stored(): Promise<string[]> {
  const { items } = await etcd.range({ key: prefix, end: prefixEnd(prefix), keysOnly: true }, 5_000)
  return items
    .map(each => each.key.slice(prefix.length))
    .filter(key => /^(blob|map)\//.test(key) && !/^map\/(leader|turn|replicas|observed)/.test(key))
}

async function all(packages: readonly Buffer[]): Promise<Answer[]> {
  const rests = [first, second].map(each => each.rest('operator'))
  return Promise.all(packages.map((bytes, index) => rests[index % 2]!('POST', '/webcomponent/', bytes)))
}

const count = (answers: readonly Answer[]): Record<number, number> => {
  const counts: Record<number, number> = {}
  for (const { status } of answers) counts[status] = (counts[status] ?? 0) + 1
  return counts
}

/** What is there of one component: its record, its history, and the chunks of the one package. */
async function left(before: readonly string[]): Promise<string[]> {
  return (await stored()).filter(key => !before.includes(key)).sort()
}

describe(`${callers} deploys of one version at once`, () => {
  it('of the same bytes make it once, and all of them are told that it is there', async () => {
    const before = await stored()
    const bytes = await component('same', 'one')
    const answers = await all(Array.from({ length: callers }, () => bytes))
    expect(count(answers)).toEqual({ 200: callers - 1, 201: 1 })
    const digest = String(answers[0]!.body['digest'])
    expect(new Set(answers.map(each => each.body['digest']))).toEqual(new Set([digest]))
    expect(await left(before)).toEqual([
      `blob/${digest.replace(':', '-')}/0000`,
      'map/activations/same',
      'map/components/same/1.0.0',
    ])
  }, 60_000)

  it('of different bytes let one win, and leave nothing of the others', async () => {
    const before = await stored()
    const packages = await Promise.all(Array.from({ length: callers }, (_, index) => component('other', `${index}`)))
    const answers = await all(packages)
    expect(count(answers)).toEqual({ 201: 1, 409: callers - 1 })
    const won = answers.find(each => each.status === 201)!
    const digest = String(won.body['digest'])
    await waitUntil('both know', () => second.replica.maps.map.get('components', 'other/1.0.0') !== undefined)
    for (const replica of [first, second]) {
      expect(replica.replica.maps.map.get('components', 'other/1.0.0')?.value.digest).toBe(digest)
    }
    for (const { status, body } of answers) if (status === 409) expect(body['detail']).toContain(digest)
    expect(await left(before)).toEqual([
      `blob/${digest.replace(':', '-')}/0000`,
      'map/activations/other',
      'map/components/other/1.0.0',
    ])
    expect(await first.replica.blobs.get(digest, 1)).toEqual(packages[answers.indexOf(won)])
  }, 60_000)

  it('of both kinds, while it is undeployed now and then: what is there in the end is whole, or there is nothing', async () => {
    const before = await stored()
    const same = await component('mixed', 'same')
    const packages = await Promise.all(
      Array.from({ length: callers / 5 }, (_, index) => (index % 2 ? same : component('mixed', `${index}`))),
    )
    let winner = same
    const undeploys = (async () => {
      for (let round = 0; round < 5; round++) {
        await waitUntil('it is there', () => first.replica.maps.map.get('components', 'mixed/1.0.0') !== undefined)
        const answer = await first.rest('operator')('DELETE', '/webcomponent/mixed/1.0')
        expect(answer.status).toBe(202)
        if (round < 4) await first.rest('operator')('POST', '/webcomponent/', winner)
      }
    })()
    const answers = await Promise.all(
      packages.map(async (bytes, index) => {
        const answer = await (index % 2 ? first : second).rest('operator')('POST', '/webcomponent/', bytes)
        if (answer.status === 201) winner = bytes
        return answer
      }),
    )
    await undeploys
    expect(answers.filter(each => ![200, 201, 404, 409].includes(each.status)).map(each => each.body)).toEqual([])
    const keys = await left(before)
    const record = first.replica.maps.map.get('components', 'mixed/1.0.0')?.value
    const blobs = record ? [`blob/${record.digest.replace(':', '-')}/0000`, 'map/activations/mixed'] : []
    expect(keys).toEqual([...blobs, record ? 'map/components/mixed/1.0.0' : 'map/undeployed/mixed/1.0.0'])
    expect(first.errors).toEqual([])
    expect(second.errors).toEqual([])
  }, 60_000)
})
