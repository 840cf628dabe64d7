/**
 * Who is linked with whom: one link for each pair of replicas, dialled by the one with the lower id, dialled again when
 * it closes. What is said over them is the matter of `peers.ts`.
 */
import { byId } from '../cloud/ids.js'
import type { ReplicaRecord } from '../cloud/records.js'
import type { Chance, Clock, Log, Maps } from '../hypervisor/ports.js'
import { decode } from '../protocol/codec.js'
import type { Message } from '../protocol/messages.js'
import { Link } from './link.js'
import type { Channel, PeerNetwork } from './network.js'

export interface MeshPorts {
  readonly network: PeerNetwork
  readonly maps: Maps
  readonly self: ReplicaRecord
  readonly clock: Clock
  readonly chance: Chance
  readonly log: Log
}

export interface MeshEvents {
  onMessage(replica: string, link: Link, message: Message): void
  onLinked(replica: string): void
  /** For whatever reason; not when a newer link took its place. */
  onClosed(replica: string, reason: string): void
}

const againMinMs = 50
const helloWithinMs = 2_000
const checkEveryMs = 500

interface Member {
  readonly link: Link
  /** Undefined until the other end has said it. */
  incarnation: string | undefined
  /** When it last said that its map is not stale. */
  freshAtMs: number
  /** With whom it is linked, as it last said. */
  linked: readonly string[]
}

/** Longer than a few signs of life take. */
const freshWithinMs = 1_000

export class Mesh {
  readonly #members = new Map<string, Member>()
  /** Whom not to dial now: on its way, or just failed. */
  readonly #dialling = new Set<string>()
  /** Why the last attempt failed, by replica: told once. */
  readonly #failures = new Map<string, string>()
  /** When the link to a replica closed that has none now. */
  readonly #lostAtMs = new Map<string, number>()
  readonly #unsubscribe: () => void
  readonly #cancelTimers = new Set<() => void>()
  #closed = false

  constructor(
    private readonly ports: MeshPorts,
    private readonly events: MeshEvents,
  ) {
    ports.network.onChannel(channel => this.#greet(channel))
    this.#unsubscribe = ports.maps.onChange(changes => {
      if (changes.some(each => each.kind === 'replicas')) this.#follow()
    })
    this.every(checkEveryMs, () => this.#follow())
    this.#follow()
  }

  get(replica: string): Link | undefined {
    return this.#members.get(replica)?.link
  }

  get links(): Iterable<[replica: string, link: Link]> {
    return [...this.#members].map(([id, { link }]) => [id, link])
  }

  /** Sorted. */
  get ids(): readonly string[] {
    return [...this.#members.keys()].sort(byId)
  }

  /** Of the process at the other end: undefined while it has not said so, or there is no link. */
  incarnationOf(replica: string): string | undefined {
    return this.#members.get(replica)?.incarnation
  }

  /** Whether another replica has a fresh map. */
  get someFresh(): boolean {
    const sinceMs = this.ports.clock.nowMs() - freshWithinMs
    return [...this.#members.values()].some(each => each.freshAtMs >= sinceMs)
  }

  lostForMs(replica: string): number | undefined {
    const { maps, self, clock } = this.ports
    const atMs = this.#lostAtMs.get(replica)
    if (atMs === undefined) return undefined
    const voters = new Set([self.id, replica, ...[...maps.map.all('replicas')].map(([id]) => id)])
    const blind = [...this.#members].filter(([id, each]) => voters.has(id) && !each.linked.includes(replica))
    return 1 + blind.length > voters.size / 2 ? clock.nowMs() - atMs : undefined
  }

  /** Until the mesh closes. */
  every(ms: number, run: () => void): void {
    this.later(ms, () => {
      run()
      this.every(ms, run)
    })
  }

  /** Unless the mesh closes first. */
  later(ms: number, run: () => void): void {
    const cancel = this.ports.clock.after(ms, () => {
      this.#cancelTimers.delete(cancel)
      if (!this.#closed) run()
    })
    this.#cancelTimers.add(cancel)
  }

  close(): void {
    this.#closed = true
    this.#unsubscribe()
    for (const cancel of this.#cancelTimers) cancel()
    this.ports.network.refuse()
    for (const { link } of this.#members.values()) link.close('this replica goes')
  }

  /** Dials who has a higher id and no link yet. */
  #follow(): void {
    if (this.#closed) return
    const { maps, self } = this.ports
    for (const [id, { value }] of maps.map.all('replicas')) {
      if (byId(self.id, id) < 0 && !this.#members.has(id) && !this.#dialling.has(id)) void this.#dial(value)
    }
  }

  async #dial({ id, url }: ReplicaRecord): Promise<void> {
    this.#dialling.add(id)
    try {
      const channel = await this.ports.network.dial(url)
      this.#dialling.delete(id)
      this.#failures.delete(id)
      this.#adopt(id, undefined, channel)
    } catch (error) {
      this.#onFailed(id, (error as Error).message)
    }
  }

  #onFailed(id: string, reason: string): void {
    if (this.#failures.get(id) !== reason) this.ports.log.warn({ replica: id, reason }, 'no link: dialling on')
    this.#failures.set(id, reason)
    this.#dialLater(id)
  }

  /** Not at once: one that hangs up would be dialled as fast as a handshake goes. */
  #dialLater(id: string): void {
    this.#dialling.add(id)
    this.later(againMinMs * (1 + this.ports.chance.next()), () => {
      this.#dialling.delete(id)
      this.#follow()
    })
  }

  /** The dialled side learns from the first message who is there. */
  #greet(channel: Channel): void {
    if (this.#closed) return channel.terminate()
    const cancel = this.ports.clock.after(helloWithinMs, () => channel.terminate())
    let greeted = false
    channel.listen({
      onFrame: frame => {
        if (greeted) return
        greeted = true
        cancel()
        const decoded = decode(frame)
        if (decoded.kind === 'message' && decoded.message.t === 'peer') {
          this.#adopt(decoded.message.id, decoded.message.incarnation, channel)
        } else channel.terminate()
      },
      onClosed: cancel,
    })
  }

  #adopt(id: string, incarnation: string | undefined, channel: Channel): void {
    const { clock, self, log, maps } = this.ports
    if (this.#closed) return channel.terminate()
    const before = this.#members.get(id)
    const link: Link = new Link(channel, clock, {
      onMessage: message => this.#onMessage(id, link, message),
      onClosed: reason => this.#onClosed(id, link, reason),
      alive: () => ({ t: 'alive', staleForMs: maps.staleForMs(), linked: [...this.ids] }),
    })
    this.#members.set(id, { link, incarnation, freshAtMs: Number.NEGATIVE_INFINITY, linked: [id] })
    this.#lostAtMs.delete(id)
    before?.link.close('a newer link')
    link.send({ t: 'peer', id: self.id, url: self.url, incarnation: self.incarnation })
    log.info({ replica: id }, 'linked')
    if (incarnation !== undefined) this.events.onLinked(id)
  }

  #onMessage(id: string, link: Link, message: Message): void {
    const member = this.#members.get(id)
    if (member?.link !== link) return
    if (message.t === 'alive') {
      if (message.staleForMs === 0) member.freshAtMs = this.ports.clock.nowMs()
      member.linked = message.linked ?? []
      return
    }
    if (message.t !== 'peer') return this.events.onMessage(id, link, message)
    const first = member.incarnation === undefined
    member.incarnation = message.incarnation
    if (first) this.events.onLinked(id)
  }

  #onClosed(id: string, link: Link, reason: string): void {
    if (this.#members.get(id)?.link !== link) return
    this.#members.delete(id)
    this.#lostAtMs.set(id, this.ports.clock.nowMs())
    this.ports.log.info({ replica: id, reason }, 'link closed')
    this.events.onClosed(id, reason)
    if (!this.#closed) this.#dialLater(id)
  }
}
