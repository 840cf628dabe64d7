/** All of the store over one etcd: the ports that the hypervisor needs. */
import type { ReplicaRecord } from '../cloud/records.js'
import type { Chance, Clock, Log } from '../hypervisor/ports.js'
import { EtcdBlobs } from './blobs.js'
import { EtcdDecisions } from './decisions.js'
import { EtcdElection } from './election.js'
import type { Etcd } from './etcd.js'
import type { StoreEvents } from './events.js'
import { Keys } from './keys.js'
import { EtcdObservations } from './observations.js'
import { EtcdPresence } from './presence.js'
import { ReplicaMap } from './replica-map.js'
import { EtcdRequests, RequestLeases } from './requests.js'
import { EtcdRoom } from './room.js'

export interface StoreOptions {
  readonly etcd: Etcd
  readonly cluster: string
  readonly replica: ReplicaRecord
  readonly leaderTtlMs: number
  readonly presenceTtlMs: number
  readonly clock: Clock
  readonly chance: Chance
  readonly log: Log
  readonly events?: StoreEvents
}

export interface Store {
  readonly maps: ReplicaMap
  readonly election: EtcdElection
  readonly requests: EtcdRequests
  readonly decisions: EtcdDecisions
  readonly blobs: EtcdBlobs
  readonly presence: EtcdPresence
  readonly observations: EtcdObservations
  readonly room: EtcdRoom
  /** Leaves the election first if that was not done, then closes everything but etcd itself. */
  close(): Promise<void>
}

/** Resolves when the first snapshot is in memory and this replica's presence in etcd. */
export async function openStore(options: StoreOptions): Promise<Store> {
  const { etcd, clock, chance, log, leaderTtlMs, events = {} } = options
  const keys = new Keys(options.cluster)
  const maps = new ReplicaMap({ etcd, keys, clock, chance, log, events })
  await maps.open()
  const presence = new EtcdPresence({ etcd, keys, clock, log, ttlMs: options.presenceTtlMs }, options.replica)
  await presence.open()
  maps.onChange(changes => {
    const gone = changes.some(each => each.kind === 'replicas' && each.id === options.replica.id && each.value === null)
    if (gone) presence.look()
  })
  const leases = new RequestLeases(etcd, clock)
  const self = options.replica
  const election = new EtcdElection({ etcd, keys, clock, chance, log, events, maps, leases, self, leaderTtlMs })
  const room = new EtcdRoom({ etcd, clock, log })
  room.open()
  const observations = new EtcdObservations({ etcd, keys, clock, log, map: maps.map })
  return {
    maps,
    election,
    presence,
    observations,
    room,
    requests: new EtcdRequests(etcd, keys, clock),
    decisions: new EtcdDecisions(etcd, keys, clock),
    blobs: new EtcdBlobs(etcd, keys, clock),
    close: async () => {
      await election.resign()
      observations.close()
      room.close()
      await presence.close()
      maps.close()
    },
  }
}
