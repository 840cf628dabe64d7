/**
 * How many events a second a replica's memory takes from its watch, end to end: from a real etcd (one member, loopback)
 * with a backlog, through transport, schemas and map, until the revision of the last one is applied. Beside it the
 * floor: the bare client library watching the same history. Afterwards the memory must equal a range.
 *
 * Not measured: what listeners of the map do with the changes, several members, a network between.
 *
 * `npm run bench -- watch [events]`
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { isDeepStrictEqual } from 'node:util'
import type { InstanceRecord } from '../src/cloud/records.js'
import { systemChance as chance, systemClock as clock } from '../src/main/world.js'
import type { Etcd } from '../src/store/etcd.js'
import { Keys } from '../src/store/keys.js'
import { ReplicaMap } from '../src/store/replica-map.js'
import { readSnapshot } from '../src/store/snapshot.js'
import { EtcdTransport } from '../src/store/transport.js'
import { readValue } from '../src/store/values.js'
import { fill, opsPerTxn, putInstances, say, startEtcd } from './clouds/etcd.js'
import { instancesOf, platform } from './clouds/large.js'
import { watchFloor } from './floors/etcd-watch.js'
import { finish, spreadOf } from './harness.js'

const events = Number(process.argv[2] ?? 300_000)
const instances = Math.min(50_000, events)
const rounds = 3
const cluster = 'watched'
const keys = new Keys(cluster)
const log = { info() {}, warn: say, error: say }

/** Each instance again and again, its generation one higher each time. */
function* changed(): Iterable<InstanceRecord> {
  const all = [...instancesOf(instances)]
  for (let index = 0; index < events; index++) {
    yield { ...all[index % instances]!, generation: 1 + Math.floor(index / instances) }
  }
}

/** A memory that has a snapshot from before, and then is let at the history. Resolves with what that took it. */
async function replica(url: string, before: number): Promise<{ ms: number; map: ReplicaMap; etcd: Etcd }> {
  const etcd = new EtcdTransport([url], 0)
  const map = new ReplicaMap({
    etcd: atFirst(etcd, before),
    keys,
    clock,
    chance,
    log: { ...log, warn() {}, error() {} },
    events: {},
  })
  const { revision } = await etcd.range({ key: keys.record('era', '') }, 5_000)
  await map.open()
  const fromMs = performance.now()
  if (map.map.order.revision !== before)
    throw new Error(`the snapshot is of ${map.map.order.revision}, not of ${before}`)
  await map.waitFor({ era: 1, revision }, 120_000)
  return { ms: performance.now() - fromMs, map, etcd }
}

/** Snapshots are of an earlier revision than the newest one. */
function atFirst(etcd: Etcd, before: number): Etcd {
  return {
    range: async (request, deadlineMs) => {
      const page = await etcd.range({ revision: before, ...request }, deadlineMs)
      return { ...page, revision: request.revision ?? before }
    },
    txn: (...args) => etcd.txn(...args),
    watch: (...args) => etcd.watch(...args),
    grant: (...args) => etcd.grant(...args),
    keepAlive: (...args) => etcd.keepAlive(...args),
    revoke: (...args) => etcd.revoke(...args),
    close: () => etcd.close(),
  }
}

/** Throws when the memory is not what etcd has. */
async function compare({ map }: ReplicaMap, etcd: Etcd): Promise<void> {
  let count = 0
  await readSnapshot(
    { etcd, keys, clock },
    {
      begin: () => undefined,
      page: items => {
        for (const { key, value, modified } of items) {
          const { kind, id } = keys.parse(key)!
          const [read, held] = [readValue(kind, value), map.get(kind, id)]
          const same =
            read.kind === 'good' &&
            held?.modified === modified &&
            isDeepStrictEqual({ ...held.value }, { ...read.value })
          if (!same) throw new Error(`the memory is not what etcd has: ${key}`)
          count++
        }
      },
    },
  )
  const held = ['instances', 'components', 'motherships', 'rainservers', 'sessions', 'era', 'settings'] as const
  const sum = held.reduce((all, kind) => all + map.count(kind), 0)
  if (sum !== count) throw new Error(`the memory holds ${sum} records, etcd ${count}`)
}

const dir = mkdtempSync(join(tmpdir(), 'rain-bench-'))
const { url, etcd, stop } = await startEtcd(join(dir, 'etcd'))
try {
  say('loading …')
  await fill(etcd, cluster, platform(instances))
  await fill(etcd, cluster, putInstances(instancesOf(instances)))
  const { revision: before } = await etcd.range({ key: keys.record('era', '') }, 5_000)
  await fill(etcd, cluster, putInstances(changed()))
  const [rates, floors]: [number[], number[]] = [[], []]
  for (let round = 0; round <= rounds; round++) {
    const floorMs = await watchFloor(url, keys.map, before + 1, events)
    const { ms, map, etcd: own } = await replica(url, before)
    if (round === 0) await compare(map, etcd)
    map.close()
    await own.close()
    // The first round warms up.
    if (round === 0) continue
    floors.push(events / (floorMs / 1000))
    rates.push(events / (ms / 1000))
    say(`round ${round}: ${Math.round(rates.at(-1)!)} events/s, bare ${Math.round(floors.at(-1)!)}`)
  }
  const [rate, floor] = [spreadOf(rates), spreadOf(floors)]
  for (const [name, { median, low, high }] of Object.entries({
    'applied, events/s': rate,
    'bare watch, events/s': floor,
  })) {
    process.stdout.write(
      `${name.padEnd(24)} ${median.toFixed(0).padStart(8)}   ${low.toFixed(0)} – ${high.toFixed(0)}\n`,
    )
  }
  const share = spreadOf(rates.map((each, round) => each / floors[round]!)).median
  finish(
    'watch',
    { events, opsPerTxn, appliedPerS: rate.median, barePerS: floor.median, shareOfBare: share },
    { appliedPerS: { value: Math.round(rate.median), bar: 30_000, ok: rate.median >= 30_000 } },
  )
} finally {
  await stop()
  rmSync(dir, { recursive: true, force: true })
}
