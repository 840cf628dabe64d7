/**
 * A command whose leader goes away is carried to the next one, exactly once (S8): whole replicas over one etcd in
 * memory, the first of which ends either before it has written the command or after, and never answers.
 */
import { afterEach, describe, expect, it } from 'vitest'
import { CloudError } from '../../src/cloud/errors.js'
import type { Peers } from '../../src/hypervisor/ports.js'
import { waitUntil } from '../support/etcd.js'
import { aHypervisor, aTwin, connectMothership, type TestReplica } from '../support/hypervisors.js'
import { noPeers } from '../support/no-peers.js'
import { aPackage } from '../support/packages.js'
import type { Answer } from '../support/rest.js'
import { auditOf } from '../support/stores.js'

const closing: (() => Promise<void>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

type Ends = 'before it is written' | 'after it is written'

/** h1 leads and h2 asks it; h1 ends at the first command that comes over the link once it is told to. */
async function aPairThatLosesItsLeader(ends: Ends) {
  const twin = aTwin()
  const first = await aHypervisor(twin, 'h1')
  let armed = false
  const peers: Peers = {
    ...noPeers,
    linked: () => ['h1'],
    hears: () => true,
    forward: async (_replica, envelope) => {
      if (!armed) return first.replica.accept(envelope)
      if (ends === 'after it is written') await first.replica.accept(envelope)
      void first.replica.stop()
      throw new CloudError('timeout', 'the link closed before it answered')
    },
  }
  const second = await aHypervisor(twin, 'h2', peers)
  closing.push(first.close, second.close)
  await connectMothership(first, 'm1')
  await connectMothership(first, 'm2')
  await waitUntil('both are seen', () => second.replica.maps.map.count('sessions') === 2)
  const arm = (): void => void (armed = true)
  const entries = async (op: string) =>
    (await auditOf(twin.client())).flatMap(each => each.entries).filter(each => each.op === op)
  return { first, second, arm, entries }
}

const deploy = async ({ rest }: TestReplica): Promise<Answer> =>
  rest('operator')('POST', '/webcomponent/', await thePackage())
const thePackage = () =>
  aPackage({
    'meta.json': JSON.stringify({ id: 'news', version: '1.0', description: 'news', views: { index: {} } }),
    'client/templates/index.html': '<p>news</p>',
  })

interface Case {
  readonly name: string
  readonly op: string
  /** Resolves with what the command is about. */
  readonly before: (second: TestReplica) => Promise<string>
  readonly ask: (second: TestReplica, subject: string) => Promise<Answer>
  readonly status: number
  /** What has to be the same however often it was sent. */
  readonly effect: (second: TestReplica, subject: string) => Readonly<Record<string, number>>
  readonly wanted: Readonly<Record<string, number>>
}

const started = async (second: TestReplica): Promise<string> => {
  await deploy(second)
  const body = { placement: { copies: 1 } }
  const answer = await second.rest('operator')('POST', '/webcomponent/news/1.0', body)
  return String(answer.body['id'])
}
const instance = ({ replica }: TestReplica, id: string) => replica.maps.map.get('instances', id)?.value

const cases: readonly Case[] = [
  {
    name: 'an instantiation',
    op: 'instantiate',
    before: async second => String((await deploy(second)).status),
    ask: second => second.rest('operator')('POST', '/webcomponent/news/1.0'),
    status: 201,
    effect: ({ replica }) => ({ instances: replica.maps.map.count('instances') }),
    wanted: { instances: 1 },
  },
  {
    name: 'a clone',
    op: 'clone',
    before: started,
    ask: (second, id) => second.rest('operator')('POST', `/webcomponent/${id}`),
    status: 202,
    effect: (second, id) => ({
      epoch: instance(second, id)!.epoch,
      copies: instance(second, id)!.learners.length + 1,
    }),
    wanted: { epoch: 2, copies: 2 },
  },
  {
    name: 'a refresh',
    op: 'refresh-instance',
    before: started,
    ask: (second, id) => second.rest('operator')('PUT', `/webcomponent/${id}`),
    status: 202,
    effect: (second, id) => ({ generation: instance(second, id)!.generation }),
    wanted: { generation: 1 },
  },
  {
    name: 'a stop',
    op: 'stop-instance',
    before: started,
    ask: (second, id) => second.rest('operator')('DELETE', `/webcomponent/${id}`),
    status: 202,
    effect: ({ replica }) => ({ instances: replica.maps.map.count('instances') }),
    wanted: { instances: 0 },
  },
  {
    name: 'a deployment',
    op: 'deploy',
    before: async () => '',
    ask: second => deploy(second),
    status: 201,
    effect: ({ replica }) => ({ components: replica.maps.map.count('components') }),
    wanted: { components: 1 },
  },
]

describe.each<Ends>(['before it is written', 'after it is written'])('a leader that ends %s', ends => {
  for (const { name, op, before, ask, status, effect, wanted } of cases) {
    it(`leaves ${name} to the next one, which answers as it would have`, async () => {
      const { second, arm, entries } = await aPairThatLosesItsLeader(ends)
      const subject = await before(second)
      arm()
      const answer = await ask(second, subject)

      expect([answer.status, answer.text]).toEqual([status, expect.any(String)])
      expect(second.replica.status().leader).toBe('h2')
      expect(effect(second, subject)).toEqual(wanted)
      expect(await entries(op)).toHaveLength(1)
      expect(second.errors).toEqual([])
    })
  }
})
