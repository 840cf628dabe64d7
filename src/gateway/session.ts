/** One node's session at this replica, from hello to the end, whatever it is carried by. */
import { hash } from 'node:crypto'
import type { Command } from '../cloud/commands.js'
import { CloudError } from '../cloud/errors.js'
import { type NodeRef, nodeName } from '../cloud/ids.js'
import { compareOrder, type Order } from '../cloud/order.js'
import { decode, encode } from '../protocol/codec.js'
import { type Message, type MessageOf, type MessageType, replicaFrameBytesMax } from '../protocol/messages.js'
import type { GatewayOptions } from './options.js'
import type { Wire, WireEnd } from './wire.js'
import { type Word, Words } from './words.js'

const helloWithinMs = 5_000
const silentMaxMs = 2_500
const bufferedMax = 4 * 1024 * 1024
const wrongFramesMax = 10
const repeatAfterMs = 2_000
const announceWithinMs = 10_000
/** A hint may be lost: it is said again, changed or not. */
const hintAgainMs = 10_000
/** A crowd that has to move is spread over nodes x 2 ms. */
const msPerNode = 2

const noComponents = Object.freeze({})

type SessionPorts = Omit<GatewayOptions, 'server'> & {
  readonly onOpen: (session: Session) => void
  /** The wire is closed. Said once more when a number comes only afterwards. */
  readonly onEnd: (session: Session) => void
}

export class Session implements WireEnd {
  /** 0 until it is open; the modification revision of the session's key. */
  number = 0
  #state: 'new' | 'opening' | 'open' | 'over' = 'new'
  #sent = ''
  #sentAtMs = 0
  /** The order of what it refused as a whole. */
  #refused: Order | undefined
  /** It lacks the newest wanted state: `#watch` sends it when it may. */
  #owed = false
  #wrongFrames = 0
  #heardAtMs: number
  readonly #begunAtMs: number
  #whenOver: (() => void) | undefined
  #appliedOrder: Order | undefined
  #sentOrder: Order | undefined
  /** The newest order under which what was sent last is wanted. */
  #standsAt: Order | undefined
  /** Of a mothership, once it has said any. */
  #words: Words | undefined
  #hinted = ''
  #hintedAtMs = Number.NEGATIVE_INFINITY
  /** What the node had applied when it came: this replica may be behind that. */
  #ahead: Order | undefined
  /** What arrived while the session was being opened. */
  #early: Message[] | undefined

  constructor(
    private readonly wire: Wire,
    readonly node: NodeRef,
    private readonly ports: SessionPorts,
  ) {
    this.#begunAtMs = this.#heardAtMs = ports.clock.nowMs()
  }

  begin(): void {
    this.wire.carry(this)
  }

  /**
   * Sends the wanted state, whole, if it is another one than the last sent or the node did not take that. `attest`: one
   * that is still the same counts as applied under the newest order, because somebody waits for that.
   */
  push(attest = false): void {
    if (this.#state !== 'open') return
    const { hypervisor, wanted, log } = this.ports
    const { order } = hypervisor.maps.map
    this.#catchUp(order)
    const put = Object.fromEntries(wanted(this.node))
    const digest = hash('sha1', JSON.stringify(put), 'base64')
    if (digest === this.#sent && !this.#mayRepeat(order)) {
      this.#owed = this.#refused !== undefined
      if (attest) this.#stands(order)
      return
    }
    this.#owed = this.wire.bufferedAmount > bufferedMax
    if (this.#owed) return
    this.#sent = digest
    this.#sentOrder = order
    this.#standsAt = undefined
    this.#sentAtMs = this.ports.clock.nowMs()
    const frame = encode({ t: 'wanted', o: [order.era, order.revision], base: null, put, gone: [] })
    // The node would close the session at such a frame, come back, and get it again.
    if (frame.byteLength <= replicaFrameBytesMax) this.#sendFrame(frame)
    else log.error({ node: this.#name, bytes: frame.byteLength }, 'a wanted state could not be sent')
  }

  /** The very same state under the same order would be refused again. */
  #mayRepeat(order: Order): boolean {
    const waited = this.ports.clock.nowMs() - this.#sentAtMs >= repeatAfterMs
    return this.#refused !== undefined && waited && compareOrder(order, this.#refused) > 0
  }

  /** Without order and without answer: whoever is slow to read misses it. */
  hint(weights: Readonly<Record<string, number>>): void {
    if (this.#state !== 'open' || this.wire.bufferedAmount > 0) return
    const nowMs = this.ports.clock.nowMs()
    const text = JSON.stringify(weights)
    if (text === this.#hinted && nowMs - this.#hintedAtMs < hintAgainMs) return
    this.#hinted = text
    this.#hintedAtMs = nowMs
    this.#send({ t: 'hint', weights })
  }

  /** The node has a newer session, here or elsewhere. */
  replace(): void {
    this.#close('replaced', false, 1000)
  }

  /** Its credential is good for nothing any more. */
  revoke(): void {
    this.#close('revoked', false, 1008)
  }

  /** The node is to find another replica, because of what is told by the code. */
  leave(code: string): void {
    this.#close(code, true, 1001)
  }

  /** This replica goes: the node is to find another one. */
  goodbye(): Promise<void> {
    return new Promise(resolve => {
      if (this.#state === 'over') return resolve()
      const cancel = this.ports.clock.after(500, () => this.wire.terminate())
      this.#whenOver = () => {
        cancel()
        resolve()
      }
      this.leave('going-away')
    })
  }

  get #name(): string {
    return nodeName(this.node)
  }

  onHeard(): void {
    this.#heardAtMs = this.ports.clock.nowMs()
  }

  onTrouble(reason: string): void {
    this.ports.log.info({ node: this.#name, reason }, 'a session failed')
  }

  /** Now and then: whether the node is still there, and what it is still owed. `unheardMs`: in which nobody listened. */
  look(nowMs: number, unheardMs: number): void {
    this.#heardAtMs = Math.min(nowMs, this.#heardAtMs + unheardMs)
    const late = this.#state === 'new' ? nowMs - this.#begunAtMs > helloWithinMs : nowMs - this.#heardAtMs > silentMaxMs
    if (late) this.wire.terminate()
    else if (this.#owed) this.push()
  }

  onFrame(frame: Buffer): void {
    if (!this.wire.open) return // it was told to go
    this.onHeard()
    const decoded = decode(frame)
    if (decoded.kind === 'message') this.#onMessage(decoded.message)
    else if (decoded.kind === 'unknown') this.#send({ t: 'error', about: decoded.type, message: 'unknown type' })
    else this.#onWrong(decoded.reason)
  }

  #onWrong(reason: string): void {
    this.#send({ t: 'error', message: reason })
    if (++this.#wrongFrames >= wrongFramesMax) this.#close('bad-frames', false, 1008, reason)
  }

  #onMessage(message: Message): void {
    if (message.t === 'bye') return void this.wire.close(1000)
    if (this.#state === 'new') {
      if (message.t === 'hello') void this.#onHello(message)
      else this.#onWrong(`${message.t} before hello`)
    } else if (this.#state === 'opening') {
      this.#early ??= []
      if (this.#early.length < 100) this.#early.push(message)
    } else if (this.#state === 'open') this.#onReport(message)
  }

  async #onHello(hello: MessageOf<'hello'>): Promise<void> {
    const { hypervisor, clock, log, onOpen } = this.ports
    if (hello.kind !== this.node.kind || hello.id !== this.node.id) {
      const reason = `the credential is that of ${this.#name}, not of ${hello.kind}/${hello.id}`
      return this.#close('forbidden', false, 1008, reason)
    }
    this.#state = 'opening'
    this.#ahead = hello.o && { era: hello.o[0], revision: hello.o[1] }
    try {
      await this.#announce(hello)
      const { kind, id, address, metrics, software } = hello
      this.number = await hypervisor.presence.openSession({
        kind,
        id,
        address,
        ...(metrics === undefined ? {} : { metrics }),
        ...(software === undefined ? {} : { software }),
      })
    } catch (error) {
      const reason = error instanceof CloudError ? error.message : 'the session could not be opened'
      log.warn({ err: error, node: this.#name }, 'a session could not be opened')
      return this.#close('not-now', true, 1013, reason)
    }
    if (this.#state !== 'opening') return this.ports.onEnd(this)
    this.#state = 'open'
    const order = hypervisor.maps.map.order
    this.#send({
      t: 'welcome',
      session: this.number,
      replicas: [...hypervisor.maps.map.all('replicas')].map(([each, { value }]) => ({ id: each, url: value.url })),
      o: [order.era, order.revision],
      staleForMs: hypervisor.maps.staleForMs(),
      pingMs: 1_000,
      reconnectWithinMs: Math.min(10_000, hypervisor.maps.map.count('sessions') * msPerNode),
      answersLoads: true,
    })
    log.info({ node: this.#name, session: this.number }, 'session opened')
    onOpen(this)
    this.#observe(hello.runs ?? [])
    for (const message of this.#early ?? []) this.#onReport(message)
    this.#early = undefined
    this.#heardAtMs = clock.nowMs()
  }

  /** The node's own word on itself becomes its record, through the leader. */
  async #announce(hello: MessageOf<'hello'>): Promise<void> {
    const command = announcement(hello)
    if (!command) return
    const { hypervisor, chance } = this.ports
    const actor = { role: 'node', subject: this.#name, node: this.node } as const
    await hypervisor.submit({ requestId: chance.id(32), fresh: true, actor, command }, announceWithinMs)
  }

  #onReport(message: Message): void {
    switch (message.t) {
      case 'observed':
        return this.#observe(message.items)
      case 'load':
        return this.#onLoad(message)
      case 'applied':
        return this.#onApplied(message)
      case 'error':
        this.ports.log.warn(
          { node: this.#name, about: message.about, said: message.message },
          'a node did not understand',
        )
        return
      default:
        this.#onWrong(`${message.t satisfies MessageType} is not for a replica`)
    }
  }

  /** Only its own copies: whatever instance it names, the record is under its own name. */
  #observe(items: MessageOf<'observed'>['items']): void {
    if (items.length === 0) return
    if (this.node.kind !== 'mothership') return this.#onWrong('only a mothership observes instances')
    this.#words ??= new Words(instance => this.ports.hypervisor.maps.map.get('instances', instance) !== undefined)
    this.#report(this.#words.hear(items, this.#ahead !== undefined))
  }

  /** The node says each word once: that on a copy which it knew before this replica did would be lost. */
  #catchUp(order: Order): void {
    if (!this.#ahead || compareOrder(order, this.#ahead) < 0) return
    this.#ahead = undefined
    this.#report(this.#words?.caughtUp() ?? [])
  }

  #report(words: readonly Word[]): void {
    if (words.length > 0) this.ports.hypervisor.observations.report(this.node.id, this.number, words)
  }

  /** The session was put anew: what was reported under its old number may have been dropped, so it is said again. */
  renumber(number: number): void {
    this.number = number
    if (this.#appliedOrder) this.#applied(this.#appliedOrder)
    this.#report(this.#words?.all() ?? [])
  }

  #onLoad(load: MessageOf<'load'>): void {
    this.wire.answer()
    const { cpu, ram, bandwidth, components = noComponents } = load
    this.ports.loads.note({ node: this.node, cpu, ram, bandwidth: bandwidth.in + bandwidth.out, components })
  }

  /**
   * A node that has seen a later order than this replica refuses all of it (key ''). Should the state be the same
   * once this replica has caught up, only sending it again gives the node one that it takes.
   */
  #onApplied(message: MessageOf<'applied'>): void {
    const refused = message.refused ?? []
    const [era, revision] = message.o
    const whole = refused.some(each => each.key === '')
    this.#refused = whole ? { era, revision } : undefined
    this.#owed ||= whole
    if (refused.length === 0) return this.#applied({ era, revision })
    this.ports.log.warn(
      { node: this.#name, o: message.o, refused: refused.slice(0, 10) },
      'a node refused what is wanted',
    )
  }

  #applied(order: Order): void {
    this.#appliedOrder = order
    const newest = this.#sentOrder && compareOrder(order, this.#sentOrder) >= 0 ? this.#standsAt : undefined
    this.ports.applied.note(this.node, this.number, newest ?? order)
  }

  /** What was sent last is what is wanted under this order, too. */
  #stands(order: Order): void {
    this.#standsAt = order
    if (this.#appliedOrder && !this.#refused) this.#applied(this.#appliedOrder)
  }

  #close(code: string, reconnect: boolean, status: number, reason?: string): void {
    this.#send({ t: 'bye', code, reconnect, ...(reason === undefined ? {} : { reason }) })
    this.wire.close(status, reason?.slice(0, 100))
    this.ports.clock.after(1_000, () => this.wire.terminate())
  }

  #send(message: Message): void {
    this.#sendFrame(encode(message))
  }

  #sendFrame(frame: Uint8Array): void {
    if (!this.wire.open) return
    if (this.wire.bufferedAmount > bufferedMax) this.wire.terminate()
    else this.wire.send(frame)
  }

  onClosed(): void {
    this.#state = 'over'
    this.#whenOver?.()
    this.ports.onEnd(this)
  }
}

function announcement(hello: MessageOf<'hello'>): Command | undefined {
  const common = {
    id: hello.id,
    address: hello.address,
    ...(hello.zone === undefined ? {} : { zone: hello.zone }),
    labels: hello.labels ?? {},
  }
  if (hello.kind === 'rainserver') return { op: 'announce-rainserver', body: { ...common, urls: hello.urls ?? [] } }
  if (hello.kind !== 'mothership') return undefined
  const capacity = hello.capacity ?? { cpu: 0, ram: 0, bandwidth: 0 }
  return { op: 'announce-mothership', body: { ...common, capacity } }
}
