/** What simulated users ask for: drawn from what there is, and now and then from what there is not. */
import { createHash } from 'node:crypto'
import type { Command } from '../../src/cloud/commands.js'
import type { CloudMap } from '../../src/cloud/map.js'
import { sortedIds } from '../../src/cloud/map.js'
import type { Dice } from './dice.js'

export const motherships = ['m1', 'm2', 'm3', 'm4'] as const
const components = ['shop', 'cart'] as const
const versions = ['1.0', '1.1', '2.0'] as const
const bulkMax = 160

export const packageOf = (id: string, version: string): Uint8Array => Buffer.from(`the package of ${id} ${version}`)
export const digestOf = (bytes: Uint8Array): string => `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/** Instances that keep state, and how many copies each has. The second may be stopped, and made anew. */
export const keptInstances = { 'keep.a': 2, 'keep.b': 3 } as const
const keeps = (instance: string): boolean => instance.startsWith('keep.')

export function deployOf(id: string, version: string, state: 'none' | 'kept' = 'none'): Command {
  const bytes = packageOf(id, version)
  const component = {
    id,
    version,
    digest: digestOf(bytes),
    size: bytes.byteLength,
    chunks: 1,
    isolation: 'shared' as const,
    state,
    views: [{ id: 'index', uses: [] }],
    meta: '{}',
  }
  return { op: 'deploy', body: { component, activate: true } }
}

/** What a cloud needs before anything can run on it. */
export const firstWishes = (): Command[] => [
  ...motherships.map((id, index): Command => {
    const capacity = { cpu: 4000 - 500 * index, ram: 8192, bandwidth: 100_000 }
    return { op: 'register-mothership', body: { id, address: `ws://${id}:1`, capacity } }
  }),
  { op: 'register-rainserver', body: { id: 'r1', address: 'http://r1:1', urls: ['/shop/*'] } },
  deployOf('shop', '1.0'),
  deployOf('keep', '1.0', 'kept'),
]

export const keptWish = (id: keyof typeof keptInstances): Command =>
  instantiate('keep', { id, need: { cpu: 50, ram: 16, bandwidth: 10 }, placement: { copies: keptInstances[id] } })

const weights = {
  instantiate: 30,
  named: 6,
  kept: 3,
  bulk: 3,
  huge: 3,
  clone: 10,
  refresh: 8,
  stop: 14,
  'refresh-version': 4,
  deploy: 6,
  undeploy: 3,
  activate: 2,
  settings: 4,
  token: 6,
  revoke: 3,
  cordon: 4,
  register: 2,
  rainserver: 2,
  rebalance: 3,
  drain: 3,
} as const

/** The memory may be old: what is asked for may be gone, or there already. */
export function wishFrom(dice: Dice, map: CloudMap): Command {
  const component = dice.pick(components)
  const version = dice.pick(versions)
  const instances = sortedIds(map, 'instances')
  const named = `shop.n${dice.below(4)}`
  // Who comes and goes all the time is asked for often: whoever knows of old only is soon wrong about it.
  const instance = instances.length > 0 && !dice.percent(25) ? dice.pick(instances) : named
  const tokens = sortedIds(map, 'tokens').slice(0, 40)
  const token = createHash('sha256')
    .update(`token ${dice.below(6)}`)
    .digest('hex')
  switch (dice.weighted(weights)) {
    case 'instantiate':
      return instantiate(component, { need: { cpu: dice.pick([20, 50, 200]) } })
    case 'named':
      return instantiate('shop', { id: named })
    case 'kept':
      return keptWish('keep.b')
    case 'bulk':
      return instantiate('shop', { need: { cpu: 5, ram: 1, bandwidth: 1 } }, 100 + dice.below(bulkMax - 100))
    case 'huge':
      return instantiate('shop', { need: { cpu: 20_000 } })
    case 'clone':
      return { op: 'clone', body: { instance, wish: {} } }
    case 'refresh':
      return { op: 'refresh-instance', body: { instance } }
    case 'stop':
      return { op: 'stop-instance', body: { instance: stays(dice, instance) ? named : instance } }
    case 'refresh-version':
      return { op: 'refresh-version', body: { component, version: `${version}.0` } }
    case 'deploy':
      return deployOf(component, version)
    case 'undeploy':
      return { op: 'undeploy', body: { component, version: `${version}.0` } }
    case 'activate':
      return { op: 'activate', body: { component, version: `${version}.0`, active: dice.percent(70) } }
    case 'settings':
      return settings(dice, map)
    case 'token':
      return { op: 'create-token', body: { digest: token, role: 'viewer', subject: 'somebody' } }
    case 'revoke':
      return { op: 'revoke-token', body: { id: dice.percent(50) ? token : (tokens[0] ?? token) } }
    case 'cordon':
      return { op: 'update-mothership', body: { id: dice.pick(motherships), change: { cordoned: dice.percent(30) } } }
    case 'rebalance':
      return { op: 'rebalance', body: { movesMax: 1 + dice.below(200) } }
    case 'drain': {
      const draining = dice.percent(40) ? { deadline: dice.pick(['500ms', '2s', '1m']) } : dice.percent(30)
      return { op: 'update-mothership', body: { id: dice.pick(motherships), change: { draining } } }
    }
    case 'register': {
      const capacity = { cpu: 1000, ram: 1000, bandwidth: 1000 }
      return { op: 'register-mothership', body: { id: `x${dice.below(3)}`, address: 'ws://x:1', capacity } }
    }
    case 'rainserver':
      return {
        op: 'update-rainserver',
        body: { id: 'r1', change: dice.percent(50) ? {} : { urls: ['/shop/*', '/*'] } },
      }
  }
}

/** What keeps state is hardly ever stopped: there is to be something to look at in the end. */
const stays = (dice: Dice, instance: string): boolean => keeps(instance) && (instance === 'keep.a' || dice.percent(80))

const instantiate = (component: string, wish: object, count = 1): Command => ({
  op: 'instantiate',
  body: { component, version: '1', wish, count, bulk: count > 1 },
})

/** So that moves, and the ends of their cool-downs, are met in the seconds of a run. */
const livelyMoves = { startAbove: 0.05, stopBelow: 0.02, minGain: 0.01, movesPerMinute: 300, coolDownMs: 1_500 }

/** Sometimes with the revision that the asker saw, which others may have changed since. */
function settings(dice: Dice, map: CloudMap): Command {
  const rebalance = { ...livelyMoves, automatic: dice.percent(80), quietMs: dice.pick([500, 2_000]) }
  const policy = dice.pick(['spread', 'spread', 'balanced', 'pack'] as const)
  const change = { fragmentDeadlineMs: 100 + dice.below(900), rebalance, policy, quarantine: { forMs: 2_000 } }
  const seen = map.get('settings')?.modified
  const conditional = seen !== undefined && dice.percent(60)
  return { op: 'put-settings', body: conditional ? { change, ifRevision: seen } : { change } }
}
