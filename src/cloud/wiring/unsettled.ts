/**
 * What of the wiring has to be looked at, gathered from the moment that somebody plans. Rather too much than too little: who
 * looks finds nothing where nothing is wrong, but nobody looks where nothing was gathered.
 */
import type { Server } from './server.js'

export class Unsettled {
  /** It is not gathered where nobody plans. */
  gathering = false
  /** Rain servers of which all is to be looked at. */
  readonly whole = new Set<Server>()
  /** By rain server: versions that it may be short of wires for. */
  readonly short = new Map<Server, Set<number>>()
  /** Rain servers with wires that may be of no use. */
  readonly loose = new Set<Server>()
  /** Versions of which copies may be idle. */
  readonly idle = new Set<number>()
  /** Motherships where a copy that had one rain server coming to it has two: one of them may be there for nothing else. */
  readonly crowded = new Set<number>()

  onWhole(server: Server): void {
    if (this.gathering) this.whole.add(server)
  }

  onShort(server: Server, version: number): void {
    if (!this.gathering || this.whole.has(server)) return
    const versions = this.short.get(server)
    if (versions) versions.add(version)
    else this.short.set(server, new Set([version]))
  }

  onLoose(server: Server): void {
    if (this.gathering) this.loose.add(server)
  }

  onIdle(version: number): void {
    if (this.gathering) this.idle.add(version)
  }

  onCrowded(mothership: number): void {
    if (this.gathering) this.crowded.add(mothership)
  }

  get servers(): Set<Server> {
    return new Set([...this.whole, ...this.short.keys(), ...this.loose])
  }

  forget(server: Server): void {
    this.whole.delete(server)
    this.short.delete(server)
    this.loose.delete(server)
  }

  clear(): void {
    for (const each of [this.whole, this.short, this.loose, this.idle, this.crowded]) each.clear()
  }
}
