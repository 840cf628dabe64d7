/**
 * Rules of the product, each broken by a port that wraps the real one: to see that the checkers notice. Nothing in the
 * product knows of these.
 */
import type { Maps, Term } from '../../src/hypervisor/ports.js'
import type { ReplicaPorts } from '../../src/hypervisor/replica.js'
import type { Etcd, TxnRequest } from '../../src/store/etcd.js'
import { Keys } from '../../src/store/keys.js'
import { readValue, writeValue } from '../../src/store/values.js'
import { brokenCopyRules } from './copy-rules.js'
import type { FaultWeights } from './faults.js'
import { type Broken, clusterName } from './replica.js'

const keys = new Keys(clusterName)
const leaderKey = keys.record('leader', '')
const turnKey = keys.record('turn', '')
const instancePrefix = keys.record('instances', 'keep')
const requestPrefix = keys.request('')

/** An etcd to which some transactions go changed. */
const withTxn = (etcd: Etcd, change: (request: TxnRequest) => TxnRequest): Etcd => ({
  range: (...args) => etcd.range(...args),
  watch: (...args) => etcd.watch(...args),
  grant: (...args) => etcd.grant(...args),
  keepAlive: (...args) => etcd.keepAlive(...args),
  revoke: (...args) => etcd.revoke(...args),
  close: () => etcd.close(),
  txn: (request, deadlineMs) => etcd.txn(change(request), deadlineMs),
})

const raisesTurn = ({ success }: TxnRequest): boolean => success.some(op => 'put' in op && op.put === turnKey)

const withoutCompare =
  (key: string) =>
  (request: TxnRequest): TxnRequest =>
    raisesTurn(request) ? { ...request, compare: request.compare.filter(each => each.key !== key) } : request

const withoutRecords = (request: TxnRequest): TxnRequest => ({
  ...request,
  success: request.success.filter(op => !('put' in op && op.put.startsWith(requestPrefix))),
})

/** A learner where a copy in sync should be: whoever is there is made primary. */
const promotingLearners = (request: TxnRequest): TxnRequest => ({
  ...request,
  success: request.success.map(op => {
    if (!('put' in op) || !op.put.startsWith(instancePrefix)) return op
    const read = readValue('instances', op.value)
    const [learner, ...rest] = read.kind === 'good' ? read.value.learners : []
    if (read.kind !== 'good' || learner === undefined || Object.keys(read.value.journals ?? {}).length === 0) return op
    const { primary, inSync } = read.value
    const others = inSync.filter(id => id !== primary)
    const value = { ...read.value, primary: learner, inSync: [learner, ...others], learners: [...rest, primary] }
    return { ...op, value: writeValue('instances', value) }
  }),
})

/** What is asked of the real object but for what is replaced: its methods run on itself, not on the wrapper. */
function instead<T extends object>(real: T, other: Partial<T>): T {
  return new Proxy(real, {
    get: (_, name) => {
      const value = name in other ? other[name as keyof T] : real[name as keyof T]
      return typeof value === 'function' ? value.bind(real) : value
    },
  })
}

const withMaps = (ports: ReplicaPorts, other: Partial<Maps>): ReplicaPorts => ({
  ...ports,
  maps: instead(ports.maps, other),
})

/** A leader that trusts itself for ever: neither its clock, nor etcd's silence, nor anybody else ends its term. */
const overconfident = (term: Term): Term =>
  instead(term, { valid: () => true, holds: () => Promise.resolve(true), ended: new Promise(() => undefined) })

function withTerm(ports: ReplicaPorts, change: (term: Term) => Term): ReplicaPorts {
  const { election } = ports
  const stand: typeof election.stand = standing =>
    election.stand({ ...standing, onTerm: term => standing.onTerm(change(term)) })
  return { ...ports, election: instead(election, { stand }) }
}

/** As long as only the queue of a leader waits for what it has written itself. */
const ownWriteMs = 30_000

function withoutOwnWait(ports: ReplicaPorts): ReplicaPorts {
  const { maps } = ports
  const waitFor: Maps['waitFor'] = (order, deadlineMs) =>
    deadlineMs === ownWriteMs ? Promise.resolve() : maps.waitFor(order, deadlineMs)
  return withMaps(ports, { waitFor })
}

/** Leaders that lose their terms without hearing of it. */
const leadersLose: FaultWeights = {
  'leader lease revoked': 4,
  'watch stalled': 4,
  pause: 2,
  'cut from etcd one way': 3,
  'bad fates of transactions': 4,
  'slow path': 3,
}

export interface BrokenRule {
  readonly broken: Broken
  /** What a checker says of it. */
  readonly says: RegExp
  readonly weights?: FaultWeights
  /** How long things go wrong, where seconds are too short, ms. */
  readonly forMs?: number
}

export const brokenRules: Readonly<Record<string, BrokenRule>> = {
  'the fence is not compared': {
    broken: { etcd: etcd => withTxn(etcd, withoutCompare(leaderKey)) },
    says: /^V3: /,
    weights: leadersLose,
    forMs: 12_000,
  },
  'the turn is not compared': {
    broken: { etcd: etcd => withTxn(etcd, withoutCompare(turnKey)) },
    says: /^(turn|V1): /,
    weights: leadersLose,
  },
  'a leader does not wait for its own revision': { broken: { ports: withoutOwnWait }, says: /^(V1|V2|V6|map): / },
  'a replica answers before its memory has the revision': {
    broken: { ports: ports => withMaps(ports, { waitFor: () => Promise.resolve() }) },
    says: /^S6: /,
  },
  'request records are not written': {
    broken: { etcd: etcd => withTxn(etcd, withoutRecords) },
    says: /^S8: it (changed|made) .* (more than once|times)/,
    weights: leadersLose,
  },
  'request records are not read': {
    broken: { ports: ports => ({ ...ports, requests: { read: () => Promise.resolve(undefined) } }) },
    says: /^S8: /,
  },
  'a leader trusts itself for ever': {
    broken: { ports: ports => withMaps(withTerm(ports, overconfident), { staleForMs: () => 0 }) },
    says: /^V6: /,
    weights: { 'cut from etcd': 6, 'cut from etcd one way': 6, 'watch stalled': 3, pause: 6, isolation: 3 },
    forMs: 15_000,
  },
  'a copy is made primary that is not in sync': {
    broken: { etcd: etcd => withTxn(etcd, promotingLearners) },
    says: /^I2: /,
    weights: { 'mothership crash': 10, 'mothership pause': 4 },
  },
  ...brokenCopyRules,
}
