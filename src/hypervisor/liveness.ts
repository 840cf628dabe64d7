/**
 * Since when a node is gone, by this replica's own monotonic clock (N3): stamped when its watch shows that the session
 * went, so that a change of leader neither forgets nor waits anew for long. Only the leader calls a node lost.
 */
import type { NodeRef } from '../cloud/ids.js'
import { nodeName } from '../cloud/ids.js'
import type { Applied, CloudMap } from '../cloud/map.js'
import type { Maps } from './ports.js'

/** A node whose replica went has so long to come back elsewhere. */
const backWithinMs = 2_500

export class Liveness {
  /** When this replica saw the record of another one come or go: its sessions from before have no process behind them. */
  readonly #changedAtMs = new Map<string, number>()
  readonly #goneSinceMs = new Map<string, number>()
  readonly #unsubscribe: () => void
  readonly #map: CloudMap

  constructor(
    maps: Maps,
    private readonly nowMs: () => number,
    /** How long a majority has seen nothing of a replica. */
    private readonly deadForMs: (replica: string) => number | undefined = () => undefined,
  ) {
    this.#map = maps.map
    this.#unsubscribe = maps.onChange(changes => this.#note(changes, maps.map))
    this.#stampAbsent(maps.map)
  }

  /** Undefined while it has a session. A node that never had one counts from when this replica first saw it. */
  goneForMs(node: NodeRef): number | undefined {
    const since = this.#goneSinceMs.get(nodeName(node))
    return since === undefined ? this.#orphanedForMs(node) : this.nowMs() - since
  }

  #orphanedForMs(node: NodeRef): number | undefined {
    const session = this.#map.get('sessions', nodeName(node))
    if (!session) return undefined
    const { replica } = session.value
    const record = this.#map.get('replicas', replica)
    const changedAtMs = this.#changedAtMs.get(replica)
    const older = changedAtMs !== undefined && (!record || record.modified > session.modified)
    const forMs = older ? this.nowMs() - changedAtMs : this.deadForMs(replica)
    return forMs !== undefined && forMs >= backWithinMs ? forMs - backWithinMs : undefined
  }

  close(): void {
    this.#unsubscribe()
  }

  #note(changes: readonly Applied[], map: CloudMap): void {
    for (const change of changes) {
      if (change.kind === 'replicas') this.#changedAtMs.set(change.id, this.nowMs())
      else if (change.kind === 'sessions') {
        if (change.value !== null) this.#goneSinceMs.delete(change.id)
        else if (mayReturn(map, change.id)) this.#stamp(change.id)
      } else if (change.kind === 'motherships' || change.kind === 'rainservers') {
        const name = `${change.kind === 'motherships' ? 'mothership' : 'rainserver'}/${change.id}`
        if (change.value === null) this.#goneSinceMs.delete(name)
        else if (!map.get('sessions', name)) this.#stamp(name)
      }
    }
  }

  #stampAbsent(map: CloudMap): void {
    for (const [id] of map.all('motherships')) this.#stampUnlessHere(map, `mothership/${id}`)
    for (const [id] of map.all('rainservers')) this.#stampUnlessHere(map, `rainserver/${id}`)
  }

  #stampUnlessHere(map: CloudMap, name: string): void {
    if (!map.get('sessions', name)) this.#stamp(name)
  }

  #stamp(name: string): void {
    if (!this.#goneSinceMs.has(name)) this.#goneSinceMs.set(name, this.nowMs())
  }
}

/** Not when it was unregistered: should it be registered again one day, it counts from then. */
const mayReturn = (map: CloudMap, name: string): boolean => {
  const id = name.slice(name.indexOf('/') + 1)
  if (name.startsWith('mothership/')) return map.get('motherships', id) !== undefined
  return !name.startsWith('rainserver/') || map.get('rainservers', id) !== undefined
}
