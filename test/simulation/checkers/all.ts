/** Everything that is checked of a finished run. Empty: it was as it has to be. */
import type { Revision } from '../etcd.js'
import type { History } from '../history.js'
import type { SimMothership } from '../mothership.js'
import type { SimReplica } from '../replica.js'
import { answerViolations } from './answers.js'
import { Ledger } from './ledger.js'
import { operationViolations } from './operations.js'
import { memoryViolations, readViolations } from './reads.js'
import { recordViolations } from './records.js'
import { stateViolations } from './states.js'
import { termViolations } from './terms.js'

export interface Finished {
  readonly revisions: readonly Revision[]
  readonly history: History
  readonly replicas: readonly SimReplica[]
  readonly motherships: readonly SimMothership[]
  readonly count: (name: string) => void
}

export function check({ revisions, history, replicas, motherships, count }: Finished): string[] {
  const ledger = new Ledger(revisions)
  return [
    ...termViolations(ledger),
    ...recordViolations(ledger),
    ...answerViolations(ledger, history),
    ...readViolations(ledger, history),
    ...memoryViolations(ledger, replicas),
    ...operationViolations(ledger, count),
    ...stateViolations(ledger, history, motherships, count),
  ]
}
