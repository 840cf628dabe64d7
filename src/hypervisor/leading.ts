/**
 * What a replica does while it leads: runs the queue, and after each change of the map (and at least twice a second)
 * looks what the cloud needs unasked: first things of a new cloud, wiring, upkeep of instances. Each pass is a proposal
 * that is decided at its turn in the queue, on the map as it is then.
 */
import { createPrivateKey, createPublicKey } from 'node:crypto'
import { expired, hasExpired, quarantine } from '../cloud/decide/quarantine.js'
import { stepsOf } from '../cloud/decide/rebalance.js'
import { advanceRemovals } from '../cloud/decide/removals.js'
import { advanceRollouts } from '../cloud/decide/rollouts.js'
import { advanceStops } from '../cloud/decide/stops.js'
import { departures, isStray, keepsState, priorityOf, repair, settled, stays, sweep } from '../cloud/decide/upkeep.js'
import { type Step, settingsOf } from '../cloud/decide/verdict.js'
import type { Draft } from '../cloud/draft.js'
import { nodeName } from '../cloud/ids.js'
import type { Applied, CloudMap } from '../cloud/map.js'
import type { Evenness } from '../cloud/placement/plan.js'
import { defaultSettings, type ObservedRecord, put, type TokenRecord } from '../cloud/records.js'
import { canSpare } from '../cloud/wiring/users.js'
import type { Applied as AppliedOrders } from './applied.js'
import { Collector } from './collector.js'
import { Failures } from './failures.js'
import type { Liveness } from './liveness.js'
import type { Blobs, Chance, Election, Loads, Log, Term } from './ports.js'
import { LeaderQueue, type QueuePorts } from './queue.js'
import { Rebalancing } from './rebalancing.js'
import { Unsettled } from './unsettled.js'
import { hasApplied } from './views.js'
import { heatsOf, type Wires } from './wires.js'

const passEveryMs = 500
const coalesceMs = 20
/** Passes may take one part in so many of the leader's time: in a large and lively cloud they come less often. */
const passShare = 10
/** A transaction that is away for longer than this is no progress: the lease is not renewed then. */
const progressWithinMs = 3_000
const repairsPerPass = 500
/** Loads have to show what the last wires that were moved have changed. */
const moveWiresEveryMs = 30_000

export interface LeadingPorts extends QueuePorts {
  readonly election: Election
  readonly liveness: Liveness
  readonly applied: AppliedOrders
  readonly wires: Wires
  readonly loads: Loads
  readonly chance: Chance
  readonly blobs: Blobs
  readonly log: Log
  readonly evenness: () => Evenness
  /** Tokens that the first leader of a new cloud writes. */
  readonly bootstrap: readonly Omit<TokenRecord, 'schema' | 'createdAt'>[]
}

export class Leading {
  readonly queue: LeaderQueue
  /** Instances that a pass has to look at: changed, observed, or not yet as they should be. */
  readonly #unsettled = new Unsettled()
  readonly #failures: Failures
  readonly #rebalancing: Rebalancing
  /** Instances that this term has not looked at yet, while there are any. */
  #unseen: Iterator<[string, unknown]> | undefined
  /** What was observed of copies that are none any more. */
  readonly #strays = new Set<string>()
  #cancelTimer: (() => void) | undefined
  #cancelSoon: (() => void) | undefined
  #rewire = true
  /** Copies that leave are kept until rain servers can do without them. */
  #unspared = false
  #wiresMovedAtMs: number
  #passTookMs = 0
  #stopped = false

  constructor(
    private readonly term: Term,
    private readonly ports: LeadingPorts,
  ) {
    this.queue = new LeaderQueue(term, ports)
    this.#failures = new Failures(() => ports.clock.nowMs())
    this.#rebalancing = new Rebalancing(() => ports.clock.nowMs())
    this.#wiresMovedAtMs = ports.clock.nowMs()
  }

  /** Resolves when the term is over. */
  async run(): Promise<void> {
    const { maps, applied, log } = this.ports
    this.#unseen = maps.map.all('instances')[Symbol.iterator]()
    for (const [id, { value }] of maps.map.all('observed')) {
      if (isStray(maps.map, id)) this.#strays.add(id)
      else if (value.phase === 'failed') this.#failures.note(maps.map, id, value)
    }
    const unsubscribe = maps.onChange(changes => this.#note(changes))
    const unhear = applied.onChange(() => {
      if (maps.map.count('stops') > 0 || this.#unspared) this.#soon()
    })
    this.queue.propose({ name: 'bootstrap', steps: draft => firstThings(draft, this.ports, this.#at()) })
    this.#tick()
    const collector = new Collector(this.ports, steps => this.queue.propose({ name: 'collect', steps }))
    collector.start()
    log.info({ term: this.term.token }, 'leading')
    try {
      await this.queue.run()
    } finally {
      this.#stopped = true
      unsubscribe()
      collector.stop()
      unhear()
      this.ports.wires.wiring.rest()
      this.#cancelTimer?.()
      this.#cancelSoon?.()
      log.info({ term: this.term.token }, 'not leading any more')
    }
  }

  /** Stops planning and lets go of the key, so that the next leader need not wait. */
  async stop(): Promise<void> {
    this.queue.close()
    await this.ports.election.resign()
  }

  #tick(): void {
    if (this.#stopped) return
    if ((this.queue.inFlightForMs ?? 0) < progressWithinMs) this.ports.election.healthy()
    const sinceMs = this.ports.clock.nowMs() - this.#wiresMovedAtMs
    if (sinceMs >= moveWiresEveryMs || this.ports.wires.wiring.unconfirmed) this.#rewire = true
    this.#proposePasses()
    this.#proposeMoves()
    this.#cancelTimer = this.ports.clock.after(passEveryMs, () => this.#tick())
  }

  #note(changes: readonly Applied[]): void {
    for (const change of changes) {
      if (change.kind === 'instances') this.#noteInstance(change)
      else if (change.kind === 'observed') this.#noteObserved(change)
      else if (change.kind === 'motherships') {
        this.#unsettle(change.id)
        this.#rebalancing.onChange()
      } else if (change.kind === 'sessions' && change.id.startsWith('mothership/')) {
        this.#rebalancing.onChange()
        this.#unsettleKept(change.id.slice('mothership/'.length))
      }
      if (operationKinds.has(change.kind)) this.#soon()
      if (wiringKinds.has(change.kind)) this.#rewire = true
    }
    if (this.#rewire || this.#unsettled.fresh > 0 || this.#strays.size > 0 || this.#failures.pending) this.#soon()
  }

  /** Most are new and as they should be. */
  #noteInstance({ id, value }: Applied): void {
    const { map } = this.ports.maps
    if (value !== null && !(settled(map, id) && stays(map, id))) this.#unsettled.add(id, priorityOf(map, id))
  }

  #noteObserved({ id, value, before }: Applied & { readonly kind: 'observed' }): void {
    const { map } = this.ports.maps
    const instance = id.slice(id.indexOf('/') + 1)
    this.#unsettled.add(instance, priorityOf(map, instance))
    if (value !== null && isStray(map, id)) this.#strays.add(id)
    else if (value?.phase === 'failed' && (before as ObservedRecord | undefined)?.phase !== 'failed') {
      this.#failures.note(map, id, value)
    }
  }

  #unsettle(mothership: string): void {
    const { map } = this.ports.maps
    for (const id of map.instancesOn(mothership)) this.#unsettled.add(id, priorityOf(map, id))
  }

  /** Copies of kept state on a mothership that came or went: their primaries change at once, not when it is lost. */
  #unsettleKept(mothership: string): void {
    const { map } = this.ports.maps
    for (const id of map.instancesOn(mothership)) if (keepsState(map, id)) this.#unsettled.add(id, priorityOf(map, id))
  }

  #soon(): void {
    if (this.#cancelSoon || this.#stopped) return
    const afterMs = Math.max(coalesceMs, this.#passTookMs * (passShare - 1))
    this.#cancelSoon = this.ports.clock.after(Math.min(afterMs, passEveryMs), () => {
      this.#cancelSoon = undefined
      this.#proposePasses()
    })
  }

  #proposePasses(): void {
    this.#unsettleLost()
    const propose = (name: string, steps: (draft: Draft) => Step[]): void =>
      this.queue.propose({ name, steps: draft => this.#timed(() => steps(draft)) })
    if (this.#rewire) propose('wiring', draft => this.#wiringSteps(draft))
    if (this.#strays.size > 0) propose('sweep', draft => this.#sweepSteps(draft))
    if (this.#failures.pending) propose('quarantine', draft => quarantine(draft, this.#failures.take(), this.#at()))
    const { map } = this.ports.maps
    for (const { name, steps } of this.#operations) if (steps(map).length > 0) propose(name, steps)
    if (hasExpired(map, this.#at())) propose('expire', draft => expired(draft, this.#at()))
    if (this.#unsettled.size > 0 || this.#unseen) propose('upkeep', draft => this.#upkeepSteps(draft))
    else if (departures(map).length > 0) propose('departures', departures)
  }

  /** What takes several steps, each when the one before has come to its end: how far it is says the map. */
  readonly #operations: readonly { readonly name: string; readonly steps: (map: CloudMap) => Step[] }[] = [
    { name: 'rollout', steps: map => advanceRollouts(map, this.#at()) },
    { name: 'removal', steps: map => advanceRemovals(map, this.#at()) },
    { name: 'stop', steps: map => advanceStops(map, { at: this.#at(), appliedBy: id => this.#appliedBy(map, id) }) },
  ]

  #appliedBy(map: CloudMap, id: string): number | undefined {
    const node = { kind: 'rainserver', id } as const
    const session = map.get('sessions', nodeName(node))
    const order = session && this.ports.applied.latest(node, session.modified)
    return order?.era === map.order.era ? order.revision : undefined
  }

  #proposeMoves(): void {
    const { maps, plan, evenness, log } = this.ports
    const movesMax = this.#rebalancing.allowance(settingsOf(maps.map), evenness)
    if (movesMax === 0) return
    this.queue.propose({
      name: 'rebalance',
      steps: draft => {
        const { moves, before, after } = plan(draft, movesMax)
        this.#rebalancing.planned(moves.length, settingsOf(draft))
        if (moves.length > 0) {
          log.info({ moves: moves.length, before: before.imbalance, after: after.imbalance }, 'moving instances')
        }
        return stepsOf(draft, moves, this.#at())
      },
    })
  }

  #unsettleLost(): void {
    const { maps, liveness } = this.ports
    const after = settingsOf(maps.map).lostAfterMs
    for (const [id] of maps.map.all('motherships')) {
      const forMs = liveness.goneForMs({ kind: 'mothership', id })
      if (forMs === undefined) continue
      if (forMs >= after) this.#unsettle(id)
      else this.#unsettleKept(id)
    }
  }

  #timed(steps: () => Step[]): Step[] {
    const fromMs = this.ports.clock.nowMs()
    const found = steps()
    this.#passTookMs = Math.max(this.ports.clock.nowMs() - fromMs, this.#passTookMs / 2)
    return found
  }

  #wiringSteps(view: Draft): Step[] {
    this.#rewire = false
    const { maps, loads, clock, wires } = this.ports
    const { heatOf, measured } = heatsOf(maps, loads, clock)
    const move = { max: this.#wireMoves(), measured }
    return wires.wiring
      .plan({ view, heatOf, at: this.#at(), move })
      .map(change => ({ changes: [change], subjects: [change.id] }))
  }

  /** How many wires may be moved now for load alone: a share of what may in a minute, each time that loads were let settle. */
  #wireMoves(): number {
    const nowMs = this.ports.clock.nowMs()
    if (nowMs - this.#wiresMovedAtMs < moveWiresEveryMs) return 0
    this.#wiresMovedAtMs = nowMs
    return Math.ceil((settingsOf(this.ports.maps.map).wiring.movesPerMinute * moveWiresEveryMs) / 60_000)
  }

  #sweepSteps(map: CloudMap): Step[] {
    const share = [...this.#strays].slice(0, repairsPerPass)
    for (const id of share) this.#strays.delete(id)
    return sweep(map, share)
  }

  #upkeepSteps(draft: Draft): Step[] {
    this.#unspared = false
    const steps: Step[] = []
    const context = {
      goneForMs: (id: string) => this.ports.liveness.goneForMs({ kind: 'mothership', id }),
      place: this.ports.place,
      at: this.#at(),
      canSpare: (key: string, mothership: string) => this.#canSpare(key, mothership),
    }
    for (const id of this.#nextUnsettled()) {
      const step = repair(draft, id, context)
      if (step) {
        draft.add(step.changes)
        steps.push(step)
      }
      if (step || !settled(draft, id) || !stays(draft, id)) this.#unsettled.later(id)
    }
    if (this.#unseen) this.#soon()
    return steps
  }

  #canSpare(key: string, mothership: string): boolean {
    const { maps, applied, wires } = this.ports
    const hasAppliedSo = (rainServer: string, revision: number): boolean =>
      hasApplied(maps.map, applied, rainServer, revision)
    const can = canSpare(maps.map, wires.wiring, { key, mothership, hasApplied: hasAppliedSo })
    if (!can) this.#unspared = true
    return can
  }

  /** A bounded share, so that instances that cannot be helped do not hold up those that can. */
  #nextUnsettled(): Set<string> {
    const share = new Set(this.#unsettled.take(this.#unseen ? repairsPerPass / 2 : repairsPerPass))
    while (this.#unseen && share.size < repairsPerPass) {
      const next = this.#unseen.next()
      if (next.done) this.#unseen = undefined
      else share.add(next.value[0])
    }
    return share
  }

  #at(): string {
    return new Date(this.ports.clock.wallMs()).toISOString()
  }
}

const wiringKinds: ReadonlySet<string> = new Set([
  ...['instances', 'components', 'motherships', 'rainservers', 'settings', 'stops', 'moves', 'sessions', 'observed'],
])
const operationKinds: ReadonlySet<string> = new Set(['rollouts', 'removals', 'stops'])

/** What a new cloud needs before anything else: its era, a key for tickets, settings, the first tokens. */
function firstThings(map: CloudMap, { bootstrap, chance }: LeadingPorts, at: string): Step[] {
  const changes = []
  if (!map.get('era')) changes.push(put('era', '', { schema: 1, era: 1 }))
  if (!map.get('settings')) changes.push(put('settings', '', defaultSettings))
  if (!map.get('keys')) changes.push(put('keys', '', { schema: 1, keys: [newKey(chance)] }))
  for (const token of bootstrap) {
    if (!map.get('tokens', token.id)) changes.push(put('tokens', token.id, { schema: 1, createdAt: at, ...token }))
  }
  return changes.map(change => ({ changes: [change], subjects: [change.id || change.kind] }))
}

/** What comes before the 32 bytes of an Ed25519 private key in PKCS #8 (RFC 8410, section 7). */
const pkcs8 = Buffer.from('302e020100300506032b657004220420', 'hex')

/** An Ed25519 private key is 32 random bytes (RFC 8032, section 5.1.5), so chance makes it. */
function newKey(chance: Chance): { id: string; privateKey: string; publicKey: string } {
  const secret = Buffer.from(chance.id(64), 'hex')
  const key = createPrivateKey({ key: Buffer.concat([pkcs8, secret]), format: 'der', type: 'pkcs8' })
  const publicKey = createPublicKey(key).export({ type: 'spki', format: 'pem' }).toString()
  const privateKey = key.export({ type: 'pkcs8', format: 'pem' }).toString()
  return { id: `k-${chance.id(8)}`, privateKey, publicKey }
}
