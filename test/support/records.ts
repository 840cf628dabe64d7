/** Records for tests: right ones, with what a test cares about said by the test. */
import type {
  Change,
  ComponentRecord,
  InstanceRecord,
  MothershipRecord,
  RainServerRecord,
} from '../../src/cloud/records.js'
import { put } from '../../src/cloud/records.js'

export const aMothership = (id: string, more: Partial<MothershipRecord> = {}): MothershipRecord => ({
  schema: 1,
  id,
  address: `ws://${id}.example:1`,
  labels: {},
  capacity: { cpu: 2000, ram: 4096, bandwidth: 100_000 },
  cordoned: false,
  draining: null,
  ...more,
})

export const aRainServer = (id: string, more: Partial<RainServerRecord> = {}): RainServerRecord => ({
  schema: 1,
  id,
  address: `http://${id}.example:1`,
  urls: ['/*'],
  labels: {},
  draining: false,
  generation: 0,
  ...more,
})

export const aComponent = (id: string, version = '1.0', more: Partial<ComponentRecord> = {}): ComponentRecord => ({
  schema: 1,
  id,
  version,
  active: true,
  activation: [],
  digest: `sha256:${'a'.repeat(64)}`,
  size: 100,
  chunks: 1,
  deployedAt: '2026-01-01T00:00:00.000Z',
  deployedBy: 'test',
  isolation: 'shared',
  state: 'none',
  views: [{ id: 'index', uses: [] }],
  meta: '{}',
  ...more,
})

export const anInstance = (id: string, on: readonly string[], more: Partial<InstanceRecord> = {}): InstanceRecord => ({
  schema: 1,
  id,
  component: id.slice(0, id.indexOf('.')),
  version: '1.0.0',
  need: { cpu: 100, ram: 64, bandwidth: 10 },
  placement: { copies: on.length },
  epoch: 1,
  primary: on[0]!,
  inSync: [...on],
  learners: [],
  generation: 0,
  createdAt: '2026-01-01T00:00:00.000Z',
  ...more,
})

export const session = (kind: 'mothership' | 'rainserver' | 'balancer', id: string, replica = 'h1'): Change =>
  put('sessions', `${kind}/${id}`, { schema: 1, kind, id, replica, address: `ws://${id}.example:1` })

export const running = (mothership: string, instance: string): Change =>
  put('observed', `${mothership}/${instance}`, {
    schema: 1,
    session: 1,
    epoch: 1,
    generation: 0,
    phase: 'running',
    since: '2026-01-01T00:00:00.000Z',
  })

/** Motherships with sessions. */
export const motherships = (...ids: readonly string[]): Change[] =>
  ids.flatMap(id => [put('motherships', id, aMothership(id)), session('mothership', id)])
