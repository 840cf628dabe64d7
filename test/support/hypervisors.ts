/** Whole replicas in this process, over an etcd in memory: everything but sockets is real. */
import { createHash } from 'node:crypto'
import type { FastifyInstance, InjectOptions } from 'fastify'
import { Registry } from 'prom-client'
import { createApi } from '../../src/api/server.js'
import { settingsOf } from '../../src/cloud/decide/verdict.js'
import type { Role } from '../../src/cloud/records.js'
import { AppliedBook } from '../../src/hypervisor/applied.js'
import { LoadBook } from '../../src/hypervisor/loads.js'
import type { Log, Peers } from '../../src/hypervisor/ports.js'
import { Replica } from '../../src/hypervisor/replica.js'
import { WeightBook } from '../../src/hypervisor/weights.js'
import { pageAt } from '../../src/main/page-routes.js'
import { systemChance, systemClock } from '../../src/main/world.js'
import type { Etcd } from '../../src/store/etcd.js'
import { openStore } from '../../src/store/store.js'
import { EtcdTwin } from '../../src/store/twin.js'
import { waitUntil } from './etcd.js'
import { noPeers } from './no-peers.js'
import type { Answer, Json, Rest } from './rest.js'

const quiet: Log = { info: () => undefined, warn: () => undefined, error: () => undefined }
const digest = (text: string): string => createHash('sha256').update(text).digest('hex')

export const secrets: Readonly<Record<Role, string>> = {
  admin: 'the-admin-secret',
  operator: 'the-operator-secret',
  viewer: 'the-viewer-secret',
  node: 'the-node-secret',
}

export interface TestReplica {
  readonly replica: Replica
  readonly api: FastifyInstance
  readonly loads: LoadBook
  readonly applied: AppliedBook
  /** Errors that were logged: bugs, unless a test made them. */
  readonly errors: { readonly fields: object; readonly message: string }[]
  /** With the secret of a role; with none when it is empty. */
  rest(role: Role | ''): Rest
  close(): Promise<void>
}

export const aTwin = (): EtcdTwin => new EtcdTwin(systemClock)

/** Resolves when it is ready; with others over the same twin, only one of them leads. */
export async function aHypervisor(twin: { client(): Etcd } = aTwin(), id = 'h1', peers?: Peers): Promise<TestReplica> {
  const errors: TestReplica['errors'] = []
  const log: Log = { ...quiet, error: (fields, message) => void errors.push({ fields, message }) }
  const clock = systemClock
  const chance = systemChance
  const store = await openStore({
    etcd: twin.client(),
    cluster: 'test',
    replica: { schema: 1, id, url: `http://${id}.example:1`, incarnation: `${id}-1` },
    leaderTtlMs: 2_000,
    presenceTtlMs: 10_000,
    clock,
    chance,
    log,
  })
  const loads = new LoadBook(
    clock,
    () => settingsOf(store.maps.map).load,
    () => settingsOf(store.maps.map).rebalance,
    (version, mothership) => store.maps.map.tallyOf(version).copies.get(mothership) ?? 0,
  )
  const applied = new AppliedBook()
  const bootstrap = (Object.entries(secrets) as [Role, string][]).map(([role, secret]) => ({
    id: digest(secret),
    role,
    subject: role,
    ...(role === 'node' ? { node: { kind: 'mothership' as const, id: 'm1' } } : {}),
  }))
  const replica = new Replica({ ...store, loads, applied, clock, chance, log, bootstrap })
  const weights = new WeightBook(replica.maps, loads, clock)
  const api = createApi({
    hypervisor: replica,
    weights: () => weights.weights(),
    pageAt: pageAt(replica.maps.map),
    clock,
    chance,
    log,
    software: '0.0.0',
    privateMetrics: false,
    metrics: new Registry(),
    onRequest: () => undefined,
  })
  await api.ready()
  replica.start(peers ?? noPeers)
  await waitUntil(
    'there is a leader, and tokens',
    () => replica.maps.map.get('tokens', digest(secrets.admin)) !== undefined,
  )
  return {
    replica,
    api,
    loads,
    applied,
    errors,
    rest: role => injected(api, role === '' ? '' : secrets[role]),
    close: async () => {
      await replica.stop()
      await api.close()
      await store.close()
    },
  }
}

function injected(api: FastifyInstance, secret: string): Rest {
  return async (method, path, body, headers = {}) => {
    const bytes = body instanceof Uint8Array
    const answer = await api.inject({
      method: method as NonNullable<InjectOptions['method']>,
      url: path,
      headers: {
        'content-type': bytes ? 'application/gzip' : 'application/json',
        ...(secret === '' ? {} : { user: secret }),
        ...headers,
      },
      ...(body === undefined
        ? {}
        : { payload: bytes ? Buffer.from(body) : typeof body === 'string' ? body : JSON.stringify(body) }),
    })
    const json = /json/.test(String(answer.headers['content-type'] ?? '')) && answer.payload !== ''
    const all = new Headers()
    for (const [name, value] of Object.entries(answer.headers)) all.set(name, String(value))
    const found: Answer = {
      status: answer.statusCode,
      headers: all,
      text: answer.payload,
      body: (json ? JSON.parse(answer.payload) : {}) as Json,
    }
    return found
  }
}

/** A mothership with a session, as nodes of the gateway make them. */
export async function connectMothership({ replica, rest }: TestReplica, id: string): Promise<void> {
  const capacity = { cpu: 1000, ram: 1000, bandwidth: 1000 }
  await rest('admin')('POST', '/mothership/', { id, address: `ws://${id}.example:1`, capacity })
  await replica.presence.openSession({ kind: 'mothership', id, address: `ws://${id}.example:1` })
  await waitUntil('the session is seen', () => replica.maps.map.get('sessions', `mothership/${id}`) !== undefined)
}
