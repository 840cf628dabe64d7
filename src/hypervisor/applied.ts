/**
 * How far each node has come with what is wanted of it: the order that it last applied, as it said here or at another
 * replica (they relay it). Not in etcd: who asks in vain waits a little, and nothing else is lost.
 */
import type { NodeRef } from '../cloud/ids.js'
import { nodeName } from '../cloud/ids.js'
import { compareOrder, type Order } from '../cloud/order.js'

export interface AppliedReport {
  readonly node: NodeRef
  /** Number of the session in which it was said: what a node applied in an earlier one tells nothing of this one. */
  readonly session: number
  readonly order: Order
}

export interface Applied {
  /** What it said in this session. */
  latest(node: NodeRef, session: number): Order | undefined
  /** Called after each report. Returns the unsubscribe function. */
  onChange(listener: () => void): () => void
}

const nodesMax = 50_000

export class AppliedBook implements Applied {
  readonly #orders = new Map<string, AppliedReport>()
  readonly #listeners = new Set<() => void>()
  /** Heard here since the last look. */
  #own: AppliedReport[] = []

  note(node: NodeRef, session: number, order: Order): void {
    const report = { node, session, order }
    if (this.#take(report)) this.#own.push(report)
    this.#tell()
  }

  noteRelayed(reports: readonly AppliedReport[]): void {
    for (const report of reports) this.#take(report)
    this.#tell()
  }

  latest(node: NodeRef, session: number): Order | undefined {
    const report = this.#orders.get(nodeName(node))
    return report?.session === session ? report.order : undefined
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  /** What was heard here since this was last called, for the peers. */
  takeOwn(): readonly AppliedReport[] {
    const own = this.#own
    this.#own = []
    return own
  }

  #take(report: AppliedReport): boolean {
    const name = nodeName(report.node)
    const before = this.#orders.get(name)
    const older = before && (before.session > report.session || isRepeated(before, report))
    if (older) return false
    if (this.#orders.size >= nodesMax && !before) this.#orders.delete(this.#orders.keys().next().value!)
    this.#orders.set(name, report)
    return true
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}

const isRepeated = (before: AppliedReport, after: AppliedReport): boolean =>
  before.session === after.session && compareOrder(before.order, after.order) >= 0
