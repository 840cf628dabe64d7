/**
 * The simulated network: messages take time, more on a slow path; on a path that is cut they wait, and when it heals
 * they either all arrive late (as TCP sends again) or are lost with their connections. Paths have a direction each.
 *
 * Calls (of clients and nodes) are messages that overtake each other; channels (links between replicas) keep their
 * order and lose nothing but their end.
 */
import type { SimProcess } from './process.js'
import type { World } from './world.js'

interface Parked {
  readonly deliver: () => void
  readonly drop: () => void
}

/** Keeps what is sent on it in order. */
export interface Lane {
  arrivesMs: number
}

export type Heal = 'sent-again' | 'lost'

const pathOf = (from: string, to: string): string => `${from}>${to}`

export class Network {
  readonly #cut = new Map<string, Parked[]>()
  readonly #slowMs = new Map<string, number>()
  readonly #dice

  constructor(readonly world: World) {
    this.#dice = world.dice.for('network')
  }

  passes(from: string, to: string): boolean {
    return !this.#cut.has(pathOf(from, to))
  }

  cut(from: string, to: string): void {
    const path = pathOf(from, to)
    if (!this.#cut.has(path)) this.#cut.set(path, [])
  }

  /** How much longer messages take there, at most. */
  slow(from: string, to: string, mostMs: number): void {
    this.#slowMs.set(pathOf(from, to), mostMs)
  }

  heal(from: string, to: string, how: Heal): void {
    const path = pathOf(from, to)
    const parked = this.#cut.get(path) ?? []
    this.#cut.delete(path)
    for (const each of parked) {
      this.world.counts.add(how === 'lost' ? 'fault: message lost' : 'fault: message late')
      if (how === 'lost') each.drop()
      else this.#send(path, each.deliver)
    }
  }

  healAll(): void {
    this.#slowMs.clear()
    for (const path of [...this.#cut.keys()]) {
      const [from = '', to = ''] = path.split('>')
      this.heal(from, to, this.#dice.percent(50) ? 'lost' : 'sent-again')
    }
  }

  /** Carries a message, however long it takes. On a lane it stays behind what was sent there before. */
  carry(from: string, to: string, deliver: () => void, drop: () => void = () => undefined, lane?: Lane): void {
    const path = pathOf(from, to)
    const parked = this.#cut.get(path)
    if (parked) parked.push({ deliver: lane ? () => this.#inLane(path, lane, deliver) : deliver, drop })
    else if (lane) this.#inLane(path, lane, deliver)
    else this.#send(path, deliver)
  }

  /**
   * Runs something in a process and brings back what became of it. Fails as the caller sees it: `refused` where there
   * is no such process, `timeout` when nothing came back in time, whatever happened there.
   */
  call<T>(from: string, to: SimProcess, withinMs: number, run: () => Promise<T>): Promise<T> {
    return new Promise((resolve, reject) => {
      const cancel = this.world.after(withinMs, `${from} gives up`, () => reject(new CallFailure('timeout')))
      const back = (tell: () => void): void =>
        this.carry(to.name, from, () => {
          cancel()
          tell()
        })
      this.carry(from, to.name, () => {
        if (!to.alive) return back(() => reject(new CallFailure('refused')))
        to.enter(() => {
          run().then(
            value => back(() => resolve(value)),
            (error: unknown) => back(() => reject(error)),
          )
        })
      })
    })
  }

  #inLane(path: string, lane: Lane, deliver: () => void): void {
    const arrivesMs = Math.max(lane.arrivesMs, this.world.nowMs + this.#delayMs(path))
    lane.arrivesMs = arrivesMs
    this.world.after(arrivesMs - this.world.nowMs, path, deliver)
  }

  #send(path: string, deliver: () => void): void {
    this.world.after(this.#delayMs(path), path, deliver)
  }

  #delayMs(path: string): number {
    const dice = this.#dice
    const mostMs = this.#slowMs.get(path)
    const usual = dice.percent(3) ? dice.between(1, 20) : dice.between(0.1, 0.8)
    return mostMs === undefined ? usual : usual + dice.between(0, mostMs)
  }
}

export class CallFailure extends Error {
  override readonly name = 'CallFailure'
  constructor(readonly why: 'refused' | 'timeout') {
    super(why)
  }
}
