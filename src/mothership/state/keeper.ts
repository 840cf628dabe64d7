/**
 * The copies of kept state on a mothership: each with its journal, brought to the configuration that is wanted, and
 * asked by the instances' code. A copy that is not the primary passes on what is asked of it, under the same id, so that
 * whoever asks need not know who the primary is, nor notice that another one has become it.
 */
import type { CopyReport } from '../../cloud/records.js'
import type { Configuration } from '../../cloud/replication/configuration.js'
import { Copy } from '../../cloud/replication/copy.js'
import type { Base, Json } from '../../cloud/replication/entry.js'
import type { Recovered, WriteJournal } from '../../cloud/replication/holding.js'
import type { Proposed, StateRead } from '../../cloud/replication/outcomes.js'
import type { Clock } from '../../hypervisor/ports.js'
import type { Carried, CarriedOutcome } from './carried.js'

export interface OpenJournal {
  readonly recovered: Recovered
  readonly write: WriteJournal
  /** What was not made durable may be lost. Resolves when another may open it. */
  close(): Promise<void>
}

export interface KeeperPorts {
  readonly self: string
  readonly clock: Pick<Clock, 'nowMs' | 'after'>
  /**
   * `since`: which life of the instance id. `anew`: nothing that was there is wanted, the journal is to be another one.
   * `onFailed` is called once when it cannot be written any more. Throws when it cannot be opened.
   */
  open(instance: string, since: number, anew: boolean, onFailed: (reason: string) => void): Promise<OpenJournal>
  /** The copy is none any more. Never rejects. */
  discard(instance: string, since: number): Promise<void>
  /** In order to one mothership; what cannot be sent is lost. */
  send(to: string, instance: string, carried: Carried): void
  /** What is reported of the copy may have changed. */
  changed(instance: string): void
}

export interface Kept {
  readonly since: number
  readonly configuration: Configuration
}

/** No outcome before the deadline: it may have been made or not. */
export interface Unknown {
  readonly kind: 'unknown'
  readonly reason: string
}

const tickMs = 100
/** After this a journal that could not be opened or written is tried again. */
const againMs = 5_000
/** Who waits for another primary looks again so often, should nothing have told it to. */
const lookAgainMs = 50

interface Asked {
  readonly to: string
  readonly settle: (outcome: CarriedOutcome) => void
}

export class Keeper {
  readonly #hosted = new Map<string, Hosted>()
  /** Copies that are none any more, and still have their journal. */
  readonly #endings = new Map<string, Promise<void>>()
  readonly #links = new Set<string>()
  readonly #asked = new Map<number, Asked>()
  #asks = 0
  #closed = false
  #cancelTick: (() => void) | undefined

  constructor(private readonly ports: KeeperPorts) {
    this.#tick()
  }

  /** All that is wanted here, by instance. */
  apply(wanted: ReadonlyMap<string, Kept>): void {
    for (const [id, hosted] of this.#hosted) {
      if (wanted.get(id)?.since === hosted.since) continue
      this.#hosted.delete(id)
      const ending = hosted.end(true)
      this.#endings.set(id, ending)
      void ending.then(() => {
        if (this.#endings.get(id) === ending) this.#endings.delete(id)
      })
    }
    for (const [id, { since, configuration }] of wanted) {
      let hosted = this.#hosted.get(id)
      if (!hosted) {
        hosted = new Hosted(id, since, this.ports, this.#links, this.#endings.get(id))
        this.#hosted.set(id, hosted)
      }
      hosted.adopt(configuration)
    }
  }

  link(mothership: string, up: boolean): void {
    if (up) this.#links.add(mothership)
    else this.#links.delete(mothership)
    for (const { copy } of this.#hosted.values()) copy?.link(mothership, up, this.ports.clock.nowMs())
    if (up) return
    for (const [n, asked] of this.#asked) if (asked.to === mothership) this.#answered(n, { kind: 'elsewhere' })
  }

  on(from: string, instance: string, carried: Carried): void {
    const copy = this.#hosted.get(instance)?.copy
    const nowMs = this.ports.clock.nowMs()
    const answer = (n: number) => (outcome: CarriedOutcome) =>
      this.ports.send(from, instance, { k: 'outcome', n, outcome })
    if (carried.k === 'copy') copy?.on(from, carried.message, nowMs)
    else if (carried.k === 'outcome') {
      if (this.#asked.get(carried.n)?.to === from) this.#answered(carried.n, carried.outcome)
    } else if (!copy) answer(carried.n)({ kind: 'elsewhere' })
    else if (carried.k === 'propose') {
      copy.propose(carried.base, carried.body, nowMs, outcome => answer(carried.n)(outcome as CarriedOutcome))
    } else if (carried.k === 'confirm') {
      copy.read(nowMs, outcome => {
        copy.tell(from)
        answer(carried.n)(outcome)
      })
    } else copy.read(nowMs, outcome => answer(carried.n)(readOf(copy, outcome)))
  }

  /** Of a copy whose configuration is known; in which epoch it is said. */
  report(instance: string): { readonly epoch: number; readonly copy: CopyReport } | undefined {
    const copy = this.#hosted.get(instance)?.copy
    const report = copy?.report()
    return report && copy?.configuration ? { epoch: copy.configuration.epoch, copy: report } : undefined
  }

  /** Whether pages may be asked of this copy. */
  serves(instance: string): boolean {
    return this.#hosted.get(instance)?.copy?.serves === true
  }

  /** Why there is no copy, or it answers for nothing. */
  problem(instance: string): string | undefined {
    const hosted = this.#hosted.get(instance)
    return hosted?.problem ?? hosted?.copy?.trouble
  }

  copyOf(instance: string): Copy | undefined {
    return this.#hosted.get(instance)?.copy
  }

  /** `body`: JSON of an `Update`. */
  async propose(instance: string, base: Base, body: string, withinMs: number): Promise<Proposed | Unknown> {
    const local = (copy: Copy, settle: (outcome: CarriedOutcome) => void): void =>
      copy.propose(base, body, this.ports.clock.nowMs(), outcome => settle(outcome as CarriedOutcome))
    const outcome = await this.#insist(instance, withinMs, local, n => ({ k: 'propose', n, base, body }))
    return outcome as Proposed | Unknown
  }

  /**
   * Of this copy when it is not older than that; else it is confirmed by the primary, which hears all copies first, so
   * that no clock but the own one counts. A copy that is not in sync passes on what the primary has. Without a primary
   * that answers in time it is unknown. `seqMin`: a change that somebody has seen, and that is not to be missing.
   */
  async read(instance: string, staleMsMax: number, withinMs: number, seqMin = 0): Promise<StateRead | Unknown> {
    const here = this.look(instance)
    if (here && here.staleForMs <= staleMsMax && here.seq >= seqMin) return here
    const beganMs = this.ports.clock.nowMs()
    const confirmed = here && (await this.#confirm(instance, withinMs))
    if (confirmed?.kind === 'unknown') return confirmed
    const now = confirmed && this.look(instance)
    if (now && now.staleForMs <= this.ports.clock.nowMs() - beganMs) return { ...now, staleForMs: 0 }
    const local = (copy: Copy, settle: (outcome: CarriedOutcome) => void): void =>
      copy.read(this.ports.clock.nowMs(), outcome => settle(readOf(copy, outcome)))
    const leftMs = withinMs - (this.ports.clock.nowMs() - beganMs)
    const outcome = await this.#insist(instance, leftMs, local, n => ({ k: 'read', n }))
    if (outcome.kind !== 'read') return outcome as Unknown
    return { epoch: outcome.epoch, seq: outcome.seq, document: outcome.document as Json, staleForMs: 0 }
  }

  /** What this copy has, if it is in sync: as old at most as the last confirmation. */
  look(instance: string): StateRead | undefined {
    const hosted = this.#hosted.get(instance)
    if (!hosted?.copy?.serves) return undefined
    const { epoch, committed: seq, document } = hosted.copy
    return { epoch, seq, document, staleForMs: this.ports.clock.nowMs() - hosted.confirmedMs }
  }

  async #confirm(instance: string, withinMs: number): Promise<{ readonly kind: 'readable' } | Unknown> {
    const hosted = this.#hosted.get(instance)
    const copy = hosted?.copy
    const askedMs = this.ports.clock.nowMs()
    const local = (from: Copy, settle: (outcome: CarriedOutcome) => void): void => from.read(askedMs, settle)
    const outcome = await this.#insist(instance, withinMs, local, n => ({ k: 'confirm', n }))
    if (outcome.kind !== 'readable') return outcome as Unknown
    if (hosted && copy && hosted.copy === copy && copy.committed >= outcome.seq) hosted.confirmed(askedMs)
    return { kind: 'readable' }
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancelTick?.()
    const all = [...this.#hosted.values()]
    this.#hosted.clear()
    await Promise.all([...all.map(hosted => hosted.end(false)), ...this.#endings.values()])
  }

  /** Asks whoever is primary until one answers, at most so long. */
  async #insist(
    instance: string,
    withinMs: number,
    local: (copy: Copy, settle: (outcome: CarriedOutcome) => void) => void,
    remote: (n: number) => Carried,
  ): Promise<CarriedOutcome | Unknown> {
    const { clock, self } = this.ports
    const untilMs = clock.nowMs() + withinMs
    let tries = 0
    for (;;) {
      const leftMs = untilMs - clock.nowMs()
      const copy = this.#hosted.get(instance)?.copy
      const primary = copy?.configuration?.primary
      if (leftMs <= 0 || this.#closed)
        return { kind: 'unknown', reason: `no primary copy answered within ${withinMs} ms` }
      const outcome =
        copy && primary === self
          ? await this.#within(leftMs, settle => local(copy, settle))
          : primary !== undefined && this.#links.has(primary)
            ? await this.#ask(primary, instance, leftMs, remote)
            : undefined
      if (outcome) tries++
      if (outcome?.kind === 'conflict' && tries > 1) return { ...outcome, again: true }
      if (outcome && outcome.kind !== 'elsewhere') return outcome
      await new Promise<void>(resolve =>
        clock.after(Math.min(lookAgainMs, Math.max(1, untilMs - clock.nowMs())), resolve),
      )
    }
  }

  #ask(
    to: string,
    instance: string,
    withinMs: number,
    remote: (n: number) => Carried,
  ): Promise<CarriedOutcome | undefined> {
    const n = ++this.#asks
    return this.#within(withinMs, settle => {
      this.#asked.set(n, { to, settle })
      this.ports.send(to, instance, remote(n))
    }).finally(() => this.#asked.delete(n))
  }

  #within(ms: number, run: (settle: (outcome: CarriedOutcome) => void) => void): Promise<CarriedOutcome | undefined> {
    return new Promise(resolve => {
      const cancel = this.ports.clock.after(ms, () => resolve(undefined))
      run(outcome => {
        cancel()
        resolve(outcome)
      })
    })
  }

  #answered(n: number, outcome: CarriedOutcome): void {
    const asked = this.#asked.get(n)
    this.#asked.delete(n)
    asked?.settle(outcome)
  }

  #tick(): void {
    if (this.#closed) return
    for (const hosted of this.#hosted.values()) hosted.tick()
    this.#cancelTick = this.ports.clock.after(tickMs, () => this.#tick())
  }
}

const readOf = (copy: Copy, outcome: { readonly kind: 'readable' | 'elsewhere' }): CarriedOutcome =>
  outcome.kind === 'elsewhere'
    ? { kind: 'elsewhere' }
    : { kind: 'read', epoch: copy.epoch, seq: copy.committed, document: copy.document }

/** One instance's copy here: opened, opened again after trouble, ended. One thing after the other. */
class Hosted {
  copy: Copy | undefined
  problem: string | undefined
  /** Everything that was committed at that time, by the own clock, is in the document. */
  confirmedMs = Number.NEGATIVE_INFINITY
  #journal: OpenJournal | undefined
  #configuration: Configuration | undefined
  #ended = false
  #opening = false
  #troubledAtMs: number | undefined
  #diskFailed = false

  constructor(
    private readonly instance: string,
    readonly since: number,
    private readonly ports: KeeperPorts,
    private readonly links: ReadonlySet<string>,
    /** The copy of the same instance that was here before lets go of its journal. */
    private readonly before: Promise<void> | undefined,
  ) {}

  adopt(configuration: Configuration): void {
    if (configuration.epoch < (this.#configuration?.epoch ?? 0)) return
    this.#configuration = configuration
    if (!this.copy) return this.#openSoon(false)
    if (this.copy.trouble !== undefined && this.#learns(configuration)) return this.#openSoon(true)
    this.copy.adopt(configuration, this.ports.clock.nowMs())
  }

  tick(): void {
    const nowMs = this.ports.clock.nowMs()
    this.copy?.tick(nowMs)
    const troubled = this.copy ? this.copy.trouble !== undefined : this.problem !== undefined
    this.#troubledAtMs = troubled ? (this.#troubledAtMs ?? nowMs) : undefined
    if (this.#troubledAtMs === undefined || nowMs - this.#troubledAtMs < againMs) return
    this.#troubledAtMs = undefined
    if (!this.copy || this.#diskFailed) this.#openSoon(false)
    else if (this.copy.role === 'learner') this.#openSoon(true)
  }

  confirmed(askedMs: number): void {
    this.confirmedMs = Math.max(this.confirmedMs, askedMs)
  }

  async end(discard: boolean): Promise<void> {
    this.#ended = true
    this.copy = undefined
    while (this.#opening) await new Promise<void>(resolve => this.ports.clock.after(10, resolve))
    await this.#journal?.close()
    if (discard) await this.ports.discard(this.instance, this.since)
  }

  /** Its history is of no more use: it begins anew, under another identity (rule 12). */
  #learns({ epoch, learners }: Configuration): boolean {
    return learners.includes(this.ports.self) && epoch > (this.copy?.configuration?.epoch ?? 0)
  }

  #openSoon(anew: boolean): void {
    if (this.#opening || this.#ended) return
    this.#opening = true
    void this.#open(anew)
      .catch((error: Error) => {
        this.problem = error.message.slice(0, 500)
      })
      .finally(() => {
        this.#opening = false
        if (!this.#ended) this.ports.changed(this.instance)
      })
  }

  async #open(anew: boolean): Promise<void> {
    const { ports, instance, since } = this
    await this.before
    await this.#journal?.close()
    this.#journal = undefined
    this.confirmedMs = Number.NEGATIVE_INFINITY
    this.#diskFailed = false
    let copy: Copy | undefined
    let failed: string | undefined
    const journal = await ports.open(instance, since, anew, reason => {
      failed = reason
      this.#diskFailed = true
      copy?.fail(reason)
    })
    this.#journal = journal
    if (this.#ended) return
    copy = new Copy(ports.self, journal.recovered, {
      send: (to, message) => ports.send(to, instance, { k: 'copy', message }),
      write: journal.write,
      soon: queueMicrotask,
      changed: () => {
        if (this.copy === copy) ports.changed(instance)
      },
    })
    this.problem = undefined
    this.copy = copy
    const nowMs = ports.clock.nowMs()
    for (const id of this.links) copy.link(id, true, nowMs)
    copy.adopt(this.#configuration!, nowMs)
    if (failed !== undefined) copy.fail(failed)
  }
}
