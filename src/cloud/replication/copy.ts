/**
 * One copy of an instance's document: primary, backup or learner as the configuration says (reliability.md, section 3;
 * primary/backup after Vertical Paxos: the configuration is agreed on elsewhere, here every copy in sync must have a
 * change before it counts). Deterministic: time comes as an argument, network and disk are ports, nothing waits.
 *
 * Within one epoch only one process ever speaks as the primary: one that was started again asks for a new epoch first.
 */
import type { CopyReport } from '../records.js'
import type { Configuration } from './configuration.js'
import type { Base, Json } from './entry.js'
import { Following } from './following.js'
import { BrokenHistory } from './history.js'
import { Holding, type Recovered, type WriteJournal } from './holding.js'
import type { CopyMessage } from './messages.js'
import type { Proposed, Readable, Settle } from './outcomes.js'
import { nobodyWaits, Primary, type PrimaryPorts, sendElsewhere } from './primary.js'

export interface CopyPorts {
  /** Over the one connection with that mothership, in order; what cannot be sent is lost. */
  send(to: string, message: CopyMessage): void
  readonly write: WriteJournal
  /** The report, or whether this copy serves, may have changed. */
  changed(): void
  /** Runs it when what happens now is over, before anything else comes in. */
  soon(run: () => void): void
}

export class Copy {
  readonly #holding: Holding
  #configuration: Configuration | undefined
  /** The epoch is durable here: messages of it are heard and sent. */
  #entered = false
  /** Another process had this copy before, and may have said something in this epoch. */
  #again = false
  /** Who was primary in the configuration before this one, when that is another one now. */
  #deposed: string | undefined
  #primary: Primary | undefined
  #following: Following | undefined
  #trouble: string | undefined
  #served = false
  #sound = false
  #enteredAt = 0
  readonly #waiting = nobodyWaits()
  readonly #links = new Set<string>()

  constructor(
    readonly self: string,
    private readonly recovered: Recovered,
    private readonly ports: CopyPorts,
  ) {
    this.#holding = new Holding(recovered, ports.write)
  }

  get epoch(): number {
    return this.#holding.epoch
  }

  get committed(): number {
    return this.#holding.committed
  }

  get tail(): number {
    return this.#holding.history.tail.seq
  }

  /** As far as it is known to be committed. */
  get document(): Json {
    return this.#holding.document
  }

  get configuration(): Configuration | undefined {
    return this.#configuration
  }

  /** Why it answers for nothing any more. */
  get trouble(): string | undefined {
    return this.#trouble
  }

  get role(): 'primary' | 'backup' | 'learner' | 'none' {
    const configuration = this.#configuration
    if (!configuration) return 'none'
    if (configuration.primary === this.self) return 'primary'
    if (configuration.inSync.includes(this.self)) return 'backup'
    return configuration.learners.includes(this.self) ? 'learner' : 'none'
  }

  /** Whether it takes changes: the primary, once all that was before is committed. */
  get leads(): boolean {
    return this.#primary?.open === true
  }

  /** Whether pages may be asked of it: it has been in sync, and nothing says that it is not any more. */
  get serves(): boolean {
    return this.#served && this.#trouble === undefined && (this.role === 'primary' || this.role === 'backup')
  }

  /** Undefined before a configuration is known. */
  report(): CopyReport | undefined {
    const configuration = this.#configuration
    if (!configuration) return undefined
    const { journal } = this.recovered
    const wants = this.#wants(configuration)
    const base = { journal, seq: this.#enteredAt, ...(this.#sound ? { sound: true } : {}) }
    if (wants !== undefined) return { ...base, wants }
    const { drop = [], admit = {} } = this.#primary ?? {}
    return {
      ...base,
      ...(drop.length > 0 ? { drop } : {}),
      ...(Object.keys(admit).length > 0 ? { admit } : {}),
    }
  }

  /** As read back from etcd. An older one than the highest that was seen is passed over. */
  adopt(configuration: Configuration, nowMs: number): void {
    const { epoch } = configuration
    const holding = this.#holding
    if (epoch < holding.epoch || epoch === this.#configuration?.epoch) return
    // Its journal counts already: an earlier process wrote it, and may have spoken as the primary of this very epoch.
    this.#again = this.#configuration === undefined && configuration.journals[this.self] === this.recovered.journal
    const before = this.#configuration?.primary
    this.#deposed = before === configuration.primary ? undefined : before
    this.#configuration = configuration
    this.#entered = false
    this.#primary = undefined
    this.#following = undefined
    holding.epoch = epoch
    this.#enteredAt = holding.history.tail.seq
    if (this.role !== 'primary') sendElsewhere(this.#waiting)
    const enter = (): void => {
      if (this.#configuration !== configuration || this.#trouble !== undefined) return
      this.#entered = true
      this.#enter(configuration, nowMs)
      this.#changed()
    }
    if (epoch === this.recovered.epoch) enter()
    else this.ports.write([{ k: 'epoch', epoch }], enter)
    this.#changed()
  }

  link(mothership: string, up: boolean, nowMs: number): void {
    if (up) this.#links.add(mothership)
    else this.#links.delete(mothership)
    this.#primary?.link(mothership, up, nowMs)
    if (!this.#following || mothership !== this.#configuration?.primary) return
    this.#following.joined = false
    if (up) this.#following.join()
  }

  /** A few times a second. */
  tick(nowMs: number): void {
    this.#primary?.tick(nowMs)
  }

  /**
   * A change that was made on the document at `base`, under an id: asked again, it answers
   * what it answered first. `settle` is called once, at once or later, unless the process ends before.
   */
  propose(base: Base, body: string, nowMs: number, settle: Settle<Proposed>): void {
    if (this.#primary) this.#guarded(primary => primary.propose(base, body, nowMs, settle))
    else settle({ kind: 'elsewhere' })
  }

  /** Settles when everything that was committed before the call is known here: linearizable (rule 8, no clock). */
  read(nowMs: number, settle: Settle<Readable>): void {
    if (this.#primary) this.#guarded(primary => primary.read(nowMs, settle))
    else settle({ kind: 'elsewhere' })
  }

  /** A primary says what is committed before anything that it says to that mothership later. */
  tell(mothership: string): void {
    this.#primary?.tell(mothership)
  }

  on(from: string, message: CopyMessage, nowMs: number): void {
    if (!this.#entered || message.epoch !== this.#holding.epoch) return
    if (this.#primary) this.#guarded(primary => primary.on(from, message, nowMs))
    else if (from === this.#configuration?.primary) this.#guarded(() => this.#following?.on(message))
  }

  /** The disk failed, or what is on it cannot be trusted: this copy answers for nothing any more. */
  fail(reason: string): void {
    if (this.#trouble !== undefined) return
    this.#trouble = reason
    this.#primary = undefined
    this.#following = undefined
    sendElsewhere(this.#waiting)
    this.#changed()
  }

  #enter(configuration: Configuration, nowMs: number): void {
    if (this.role === 'none') return
    if (this.role !== 'primary') {
      this.#following = new Following(this.recovered.journal, this.role === 'learner', configuration, this.#holding, {
        send: message => this.ports.send(configuration.primary, message),
        changed: () => this.#changed(),
      })
      if (this.#links.has(configuration.primary)) this.#following.join()
      return
    }
    if (this.#wants(configuration) !== undefined) return
    const ports: PrimaryPorts = {
      send: this.ports.send.bind(this.ports),
      changed: () => this.#changed(),
      soon: run => this.ports.soon(() => this.#primary === primary && this.#guarded(run)),
    }
    const copy = { self: this.self, configuration, deposed: this.#deposed }
    const primary = new Primary(copy, this.#holding, this.#waiting, ports, nowMs)
    this.#primary = primary
    this.#guarded(primary => primary.begin(this.#links, nowMs))
  }

  #wants({ journals, inSync, learners, primary }: Configuration): CopyReport['wants'] {
    if (this.#trouble !== undefined) return 'lost'
    const registered = journals[this.self]
    const primaryHere = primary === this.self
    if (registered === undefined && primaryHere) return 'register'
    if (inSync.includes(this.self) && registered !== this.recovered.journal) return 'lost'
    return primaryHere && this.#again && inSync.length + learners.length > 1 ? 'renew' : undefined
  }

  #changed(): void {
    const follows = this.#following?.joined === true
    if (this.leads || (follows && this.role === 'backup')) this.#served = true
    if (this.leads || follows) this.#sound = true
    this.ports.changed()
  }

  #guarded(run: (primary: Primary) => void): void {
    try {
      run(this.#primary!)
    } catch (error) {
      if (!(error instanceof BrokenHistory)) throw error
      this.fail(error.message)
    }
  }
}
