/**
 * Carries commands to whoever leads, until they are answered or the caller's time is up: sends again, under the same
 * request id, when a leader goes away meanwhile (S8 makes that safe), and says in time that etcd is gone.
 */
import type { Answer, Envelope } from '../cloud/commands.js'
import { CloudError } from '../cloud/errors.js'
import { checkCommand } from './check.js'
import type { Clock, Maps, Room } from './ports.js'
import { StoreProbe } from './store-probe.js'

/** Writes are refused when etcd has been silent for longer than this: they could only wait. */
const staleMaxMs = 1_500
/** Between two attempts at a leader that does not answer, unless the map shows a new one sooner. */
const againMs = 20
/** How long one attempt may take before the request is looked for at whoever leads then. */
const attemptMs = 1_500
/** What an etcd that is there needs at most for one read. */
const askMs = 300
/** From when on a change takes long. */
const slowMs = 900

/** A command on its way. */
interface Call {
  readonly untilMs: number
  /** An attempt ended without word of its outcome. */
  uncertain: boolean
  /** A leader may have it now. */
  asked: boolean
  over: boolean
}

export interface CarrierPorts {
  readonly maps: Maps
  readonly room?: Room
  readonly clock: Clock
  /** Asks whoever leads now, here or over a link. Throws what it says, `no-leader` when nobody is there to ask. */
  attempt(envelope: Envelope, withinMs: number): Promise<Answer>
}

export class Carrier {
  readonly #probe: StoreProbe
  #catchingUp: Promise<boolean> | undefined

  constructor(private readonly ports: CarrierPorts) {
    this.#probe = new StoreProbe(ports.maps)
  }

  submit(envelope: Envelope, deadlineMs: number): Promise<Answer> {
    const call: Call = { untilMs: this.ports.clock.nowMs() + deadlineMs, uncertain: false, asked: false, over: false }
    return new Promise((resolve, reject) => {
      const cancel = this.#onceStoreIsGone(call, reject)
      const end = (): void => {
        call.over = true
        cancel()
      }
      this.#carry(envelope, call).then(resolve, reject).finally(end)
    })
  }

  async #carry(envelope: Envelope, call: Call): Promise<Answer> {
    checkCommand(envelope.command)
    const leftMs = (): number => call.untilMs - this.ports.clock.nowMs()
    const first = envelope.fresh ? { ...envelope, since: this.#turn() } : envelope
    for (let attempt = first; ; attempt = { ...first, fresh: false }) {
      if (this.#storeIsAway() && !(await this.#answersSoon())) throw this.#storeAway(call)
      if (leftMs() <= 0 || call.over) throw outOfTime(call.uncertain)
      try {
        call.asked = true
        const answer = await this.ports.attempt(attempt, Math.min(leftMs(), attemptMs))
        await this.ports.maps.waitFor(answer.order, clamp(leftMs()))
        return answer
      } catch (error) {
        if (!(error instanceof CloudError) || !mayPass.has(error.code)) throw error
        call.asked = false
        call.uncertain ||= error.code !== 'no-leader'
        await this.#untilLeaderChanges(Math.min(againMs, Math.max(1, leftMs())))
      }
    }
  }

  #turn(): number {
    return this.ports.maps.map.get('turn')?.value.number ?? 0
  }

  /** A change that takes long may wait for an etcd that is gone: then its caller is told in time. */
  #onceStoreIsGone(call: Call, tell: (error: CloudError) => void): () => void {
    const look = async (): Promise<void> => {
      const answers = await this.#probe.answers()
      if (call.over) return
      if (answers) cancel = this.ports.clock.after(slowMs, look)
      else {
        call.over = true // what is told to have changed nothing is not tried again
        tell(this.#storeAway(call))
      }
    }
    let cancel = this.ports.clock.after(slowMs, look)
    return () => cancel()
  }

  #storeIsAway(): boolean {
    return this.ports.maps.staleForMs() > staleMaxMs || this.ports.room?.full === true
  }

  /** Who stood still itself has not heard etcd for as long: it is asked, before it is called silent. */
  #answersSoon(): Promise<boolean> {
    if (this.ports.room?.full) return Promise.resolve(false)
    this.#catchingUp ??= this.ports.maps.catchUp(askMs).then(
      () => true,
      () => false,
    )
    return this.#catchingUp.finally(() => (this.#catchingUp = undefined))
  }

  #storeAway({ uncertain, asked }: Call): CloudError {
    const full = this.ports.room?.full === true
    const maybe = uncertain || asked
    const note = maybe ? '; whether the change was made is not known: repeat it with the same Idempotency-Key' : ''
    const staleMs = Math.round(this.ports.maps.staleForMs())
    const away = staleMs > 0 ? `etcd has not answered for ${staleMs} ms` : 'etcd does not answer'
    const what = full ? 'etcd is full (NOSPACE)' : away
    return new CloudError('store-unavailable', what + note, { retryAfterS: full ? 5 : 2 })
  }

  #untilLeaderChanges(maxMs: number): Promise<void> {
    return new Promise(resolve => {
      const finish = (): void => {
        unsubscribe()
        cancel()
        resolve()
      }
      const unsubscribe = this.ports.maps.onChange(changes => {
        if (changes.some(change => change.kind === 'leader' && change.value !== null)) finish()
      })
      const cancel = this.ports.clock.after(maxMs, finish)
    })
  }
}

/** Not to the end of the caller's time: etcd may have gone, and then it is told so. */
const clamp = (leftMs: number): number => Math.max(1, Math.min(leftMs, attemptMs))

/** What passes by itself when sent again to whoever leads then. */
const mayPass: ReadonlySet<string> = new Set(['no-leader', 'timeout', 'superseded'])

const outOfTime = (uncertain: boolean): CloudError =>
  uncertain
    ? new CloudError(
        'timeout',
        'not answered in time; repeat it with the same Idempotency-Key to learn what became of it',
      )
    : new CloudError('no-leader', 'no replica leads at the moment, nothing was changed', { retryAfterS: 1 })
