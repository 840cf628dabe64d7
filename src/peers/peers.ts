/**
 * What replicas say to each other: commands carried to the leader and their answers, loads of each other's nodes, and
 * whether a leader is still in sight.
 */
import type { Server } from 'node:http'
import type { Answer, Envelope } from '../cloud/commands.js'
import { CloudError } from '../cloud/errors.js'
import type { LeaderRecord, ReplicaRecord } from '../cloud/records.js'
import type { AppliedBook } from '../hypervisor/applied.js'
import type { Hypervisor } from '../hypervisor/hypervisor.js'
import type { LoadBook } from '../hypervisor/loads.js'
import type { Chance, Clock, Log, Peers } from '../hypervisor/ports.js'
import type { Message, MessageOf } from '../protocol/messages.js'
import { readEnvelope } from './envelope.js'
import type { Link } from './link.js'
import { Mesh } from './mesh.js'
import type { PeerNetwork } from './network.js'
import { problemOf } from './problem.js'
import { Questions } from './questions.js'
import { socketNetwork } from './sockets.js'

export interface PeersOptions {
  readonly network: PeerNetwork
  readonly hypervisor: Hypervisor
  readonly self: ReplicaRecord
  readonly loads: LoadBook
  readonly applied: AppliedBook
  readonly clock: Clock
  readonly chance: Chance
  readonly log: Log
  /** A link to this replica closed, for whatever reason. */
  readonly onClosed?: (replica: string, reason: string) => void
}

export type RunningPeers = Peers & {
  /** Whether another replica has a map that is not stale. */
  someFresh(): boolean
  close(): Promise<void>
}

export const createPeers = (options: PeersOptions): RunningPeers => new PeerLinks(options)

/** Over websockets on the replica's listener. Throws `misconfigured` without a secret. */
export function attachPeers({
  server,
  secret,
  ...options
}: Omit<PeersOptions, 'network'> & { readonly server: Server; readonly secret: string }): RunningPeers {
  return createPeers({ ...options, network: socketNetwork(server, secret) })
}

type Relayed = NonNullable<MessageOf<'loads'>['applied']>[number]

const loadsEveryMs = 1_000
const relayAfterMs = 10
const agreeWithinMs = 500

class PeerLinks implements RunningPeers {
  readonly #mesh: Mesh
  readonly #commands: Questions<Answer>
  readonly #suspicions: Questions<boolean>
  readonly #listeners = new Set<() => void>()
  readonly #unlisten: () => void
  #relaying = false
  #relayedAtMs = 0

  constructor(private readonly options: PeersOptions) {
    const { clock, applied, hypervisor } = options
    this.#commands = new Questions(clock)
    this.#suspicions = new Questions(clock)
    this.#mesh = new Mesh(
      { ...options, maps: hypervisor.maps },
      {
        onMessage: (id, link, message) => this.#onMessage(id, link, message),
        onLinked: () => this.#tell(),
        onClosed: (id, reason) => this.#onClosed(id, reason),
      },
    )
    this.#mesh.every(loadsEveryMs, () => this.#relayLoads())
    this.#unlisten = applied.onChange(() => this.#relaySoon())
  }

  linked(): readonly string[] {
    return this.#mesh.ids
  }

  hears({ replica, incarnation }: Pick<LeaderRecord, 'replica' | 'incarnation'>): boolean {
    return this.#mesh.incarnationOf(replica) === incarnation
  }

  lostForMs(replica: string): number | undefined {
    return this.#mesh.lostForMs(replica)
  }

  someFresh(): boolean {
    return this.#mesh.someFresh
  }

  onLinks(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  forward(replica: string, envelope: Envelope, deadlineMs: number): Promise<Answer> {
    const direct = this.#mesh.get(replica)
    // Where only this link is cut, another replica may still reach the leader.
    const via = direct ? replica : this.#mesh.ids[0]
    const link = via === undefined ? undefined : this.#mesh.get(via)
    if (via === undefined || !link) {
      return Promise.reject(new CloudError('no-leader', `there is no link to ${replica}, which leads`))
    }
    return this.#commands.ask(via, deadlineMs, r => {
      const relay = direct ? {} : { relay: true }
      if (link.send({ t: 'forward', r, envelope, deadlineMs, ...relay })) return
      throw new CloudError('no-leader', `the link to ${via} is closed`)
    })
  }

  async agrees(peer: string, leader: LeaderRecord, term: number): Promise<boolean> {
    const link = this.#mesh.get(peer)
    if (!link) return false
    const { replica, incarnation } = leader
    return this.#suspicions
      .ask(peer, agreeWithinMs, r => {
        if (!link.send({ t: 'suspect', r, replica, incarnation, term })) throw new CloudError('timeout', 'closed')
      })
      .catch(() => false)
  }

  yield(term: number): void {
    for (const [, link] of this.#mesh.links) link.send({ t: 'yield', term })
  }

  async close(): Promise<void> {
    this.#unlisten()
    this.#listeners.clear()
    this.#mesh.close()
  }

  #tell(): void {
    for (const listener of [...this.#listeners]) listener()
  }

  #onClosed(id: string, reason: string): void {
    const error = new CloudError('timeout', `the link to ${id} closed before it answered`)
    this.#commands.drop(id, error)
    this.#suspicions.drop(id, error)
    this.options.onClosed?.(id, reason)
    this.#tell()
  }

  #onMessage(id: string, link: Link, message: Message): void {
    const { hypervisor } = this.options
    switch (message.t) {
      case 'error':
        return
      case 'forward':
        return void this.#onForward(link, message)
      case 'done':
        return this.#commands.answer(message.r, message.answer as Answer)
      case 'not-leader':
        return this.#commands.refuse(message.r, new CloudError('no-leader', `${id} does not lead`))
      case 'problem':
        return this.#commands.refuse(message.r, problemOf(message))
      case 'suspect':
        return void link.send({ t: hypervisor.agreesThatGone(message) ? 'agree' : 'deny', r: message.r })
      case 'agree':
      case 'deny':
        return this.#suspicions.answer(message.r, message.t === 'agree')
      case 'yield':
        return void hypervisor.endTerm(message.term)
      case 'loads':
        return this.#onLoads(message)
      default:
        link.send({ t: 'error', about: message.t, message: 'not for a replica' })
    }
  }

  async #onForward(link: Link, { r, envelope, deadlineMs, relay = false }: MessageOf<'forward'>): Promise<void> {
    const { hypervisor, log } = this.options
    try {
      const read = readEnvelope(envelope)
      const answer = await (relay ? hypervisor.relay(read, deadlineMs) : hypervisor.accept(read))
      link.send({ t: 'done', r, answer })
    } catch (error) {
      if (error instanceof CloudError && error.code === 'no-leader') {
        return void link.send({ t: 'not-leader', r, who: hypervisor.status().leader })
      }
      if (!(error instanceof CloudError)) log.error({ err: error }, 'a forwarded command failed')
      const { code, message, details } =
        error instanceof CloudError ? error : new CloudError('internal', 'the leader failed at it')
      link.send({ t: 'problem', r, code, message, details })
    }
  }

  #relayLoads(): void {
    const reports = this.options.loads.ownSince(this.#relayedAtMs)
    this.#relayedAtMs = this.options.clock.nowMs()
    if (reports.length === 0) return
    const nodes = reports.map(({ node, cpu, ram, bandwidth, components, ageMs }) => ({
      ...node,
      cpu,
      ram,
      bandwidth,
      components,
      ageMs,
    }))
    for (const [, link] of this.#mesh.links) link.send({ t: 'loads', nodes })
  }

  /** What nodes applied is waited for, so it does not wait for the next turn of the loads. */
  #relaySoon(): void {
    if (this.#relaying) return
    this.#relaying = true
    this.#mesh.later(relayAfterMs, () => {
      this.#relaying = false
      const own = this.options.applied.takeOwn()
      if (own.length === 0) return
      const applied = own.map(
        ({ node, session, order }): Relayed => ({
          ...node,
          session,
          o: [order.era, order.revision],
        }),
      )
      for (const [, link] of this.#mesh.links) link.send({ t: 'loads', nodes: [], applied })
    })
  }

  #onLoads({ nodes, applied = [] }: MessageOf<'loads'>): void {
    const reports = applied.map(({ kind, id, session, o: [era, revision] }) => ({
      node: { kind, id },
      session,
      order: { era, revision },
    }))
    if (reports.length > 0) this.options.applied.noteRelayed(reports)
    for (const { kind, id, cpu, ram, bandwidth, components, ageMs } of nodes) {
      const known = (components ?? {}) as Parameters<LoadBook['note']>[0]['components']
      this.options.loads.noteRelayed({ node: { kind, id }, cpu, ram, bandwidth, components: known }, ageMs)
    }
  }
}
