import type { Revision } from '../etcd.js'
import type { History } from '../history.js'
import type { SimReplica } from '../replica.js'

export interface Finished {
  readonly revisions: readonly Revision[]
  readonly history: History
  readonly replicas: readonly SimReplica[]
}

export function check(_finished: Finished): string[] {
  return []
}
