/** What the gateway needs of the replica that it is a part of. */
import type { Server } from 'node:http'
import type { NodeRef } from '../cloud/ids.js'
import type { AppliedBook } from '../hypervisor/applied.js'
import type { Hypervisor } from '../hypervisor/hypervisor.js'
import type { LoadBook } from '../hypervisor/loads.js'
import type { Chance, Clock, Log } from '../hypervisor/ports.js'

export interface GatewayOptions {
  readonly server: Server
  readonly hypervisor: Hypervisor
  /** What the map wants of a node, whole. */
  readonly wanted: (node: NodeRef) => ReadonlyMap<string, unknown>
  /** Whether another replica has a fresher map, when this one's is old. */
  readonly fresherElsewhere: () => boolean
  /** Of rain servers, by id: told to balancers. */
  readonly weights: () => Readonly<Record<string, number>>
  readonly loads: LoadBook
  readonly applied: AppliedBook
  readonly clock: Clock
  readonly chance: Chance
  readonly log: Log
}
