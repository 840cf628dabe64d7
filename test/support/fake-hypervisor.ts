/**
 * A small hypervisor for tests of the edges: its map is a PlainStore, which several of them may share as replicas
 * share etcd. It records what it is asked; announced nodes get their records, sessions come and go as in etcd.
 */
import type { Answer, Envelope } from '../../src/cloud/commands.js'
import type { PlacementResult } from '../../src/cloud/decide/verdict.js'
import { type NodeRef, nodeName } from '../../src/cloud/ids.js'
import { noPlan, type RebalancePlan } from '../../src/cloud/placement/plan.js'
import { put, type ReplicaRecord, remove, type SessionRecord } from '../../src/cloud/records.js'
import { digestOf } from '../../src/hypervisor/actors.js'
import { AppliedBook } from '../../src/hypervisor/applied.js'
import type { Hypervisor, Status, Suspected } from '../../src/hypervisor/hypervisor.js'
import { LoadBook } from '../../src/hypervisor/loads.js'
import type { Blobs, Clock, Log, Observations, ObservedItem, Presence } from '../../src/hypervisor/ports.js'
import { Wires } from '../../src/hypervisor/wires.js'
import { PlainStore, testClock } from './plain-store.js'
import { aMothership, aRainServer } from './records.js'

export interface Reported {
  readonly mothership: string
  readonly session: number
  readonly items: readonly ObservedItem[]
}

type Session = Omit<SessionRecord, 'schema' | 'replica'>

export class FakeHypervisor implements Hypervisor {
  readonly url: string
  readonly maps: PlainStore
  readonly requests: PlainStore
  readonly decisions: PlainStore
  readonly loads: LoadBook
  readonly applied = new AppliedBook()
  readonly wires: Wires
  readonly presence: Presence
  readonly observations: Observations
  readonly blobs: Blobs = {
    put: () => Promise.reject(new Error('no blobs here')),
    get: () => Promise.resolve(undefined),
    list: () => Promise.resolve(new Map()),
  }
  readonly reports: Reported[] = []
  readonly submitted: Envelope[] = []
  /** Numbers of the sessions that were to be closed, whether or not they were still there. */
  readonly closed: number[] = []
  /** Awaited between the writing of a session and the word of it. */
  afterOpen: (number: number) => Promise<void> = () => Promise.resolve()
  /** What `submit` and `accept` say; by default nodes that announce themselves are recorded. */
  answer: (envelope: Envelope) => Answer | Promise<Answer>
  leader: string | null = null
  /** Terms whose leaders are out of its sight. */
  readonly gone = new Set<number>()
  readonly relayed: Envelope[] = []
  /** Terms that it was asked to end. */
  readonly ended: number[] = []

  constructor(
    readonly id: string,
    readonly store = new PlainStore(),
    clock: Clock = testClock,
  ) {
    this.url = `http://${id}.example:1`
    this.maps = store
    this.wires = new Wires(store)
    this.requests = store
    this.decisions = store
    this.loads = new LoadBook(clock)
    this.answer = envelope => this.#announced(envelope)
    const replica: ReplicaRecord = { schema: 1, id, url: this.url, incarnation: `${id}-1` }
    this.presence = {
      replica,
      openSession: session => this.#openSession(session),
      closeSession: (node, number) => this.#closeSession(node, number),
    }
    this.observations = {
      report: (mothership, session, items) => void this.reports.push({ mothership, session, items }),
    }
  }

  submit(envelope: Envelope): Promise<Answer> {
    this.submitted.push(envelope)
    return Promise.resolve().then(() => this.answer(envelope))
  }

  accept(envelope: Envelope): Promise<Answer> {
    return this.submit(envelope)
  }

  relay(envelope: Envelope): Promise<Answer> {
    this.relayed.push(envelope)
    return this.submit(envelope)
  }

  agreesThatGone({ term }: Suspected): boolean {
    return this.gone.has(term)
  }

  endTerm(term: number): Promise<void> {
    this.ended.push(term)
    return Promise.resolve()
  }

  place(): PlacementResult {
    return { kind: 'nowhere', reasons: [] }
  }

  plan(): RebalancePlan {
    return noPlan
  }

  goneForMs(): number | undefined {
    return undefined
  }

  status(): Status {
    return { leader: this.leader, leading: this.leader === this.id, term: 1, ready: true, queued: 0, storeFull: false }
  }

  session(node: NodeRef): number | undefined {
    return this.store.map.get('sessions', nodeName(node))?.modified
  }

  async #openSession(session: Session): Promise<number> {
    const record: SessionRecord = { schema: 1, replica: this.id, ...session }
    const number = this.store.apply([put('sessions', nodeName(session), record)])
    await this.afterOpen(number)
    return number
  }

  #closeSession(node: NodeRef, number: number): Promise<void> {
    this.closed.push(number)
    if (this.session(node) === number) this.store.apply([remove('sessions', nodeName(node))])
    return Promise.resolve()
  }

  #announced({ command }: Envelope): Answer {
    if (command.op === 'announce-mothership') {
      const { id = '', address, capacity } = command.body
      this.store.apply([put('motherships', id, aMothership(id, { address, capacity }))])
    } else if (command.op === 'announce-rainserver') {
      const { id = '', address, urls } = command.body
      this.store.apply([put('rainservers', id, aRainServer(id, { address, urls }))])
    }
    return { outcome: 'changed', kind: 'motherships', ids: [], order: this.store.map.order }
  }
}

/** Gives a node (or, without one, an operator) a token and returns its secret. */
export function aToken(store: PlainStore, node?: NodeRef, more: { expires?: string } = {}): string {
  const secret = node ? `secret-of-${node.kind}-${node.id}` : 'secret-of-ann'
  const id = digestOf(secret)
  store.apply([
    put('tokens', id, {
      schema: 1,
      id,
      role: node ? 'node' : 'admin',
      subject: node ? nodeName(node) : 'ann',
      createdAt: '2026-01-01T00:00:00.000Z',
      ...(node ? { node } : {}),
      ...more,
    }),
  ])
  return secret
}

export interface Noted {
  readonly level: 'info' | 'warn' | 'error'
  readonly fields: object
  readonly message: string
}

/** Keeps what is said. */
export class FakeLog implements Log {
  readonly notes: Noted[] = []
  readonly info = (fields: object, message: string): void => this.#note('info', fields, message)
  readonly warn = (fields: object, message: string): void => this.#note('warn', fields, message)
  readonly error = (fields: object, message: string): void => this.#note('error', fields, message)

  said(part: string): boolean {
    return this.notes.some(note => note.message.includes(part))
  }

  #note(level: Noted['level'], fields: object, message: string): void {
    this.notes.push({ level, fields, message })
  }
}
