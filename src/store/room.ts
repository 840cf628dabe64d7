/**
 * Whether etcd has room left. Without any (its NOSPACE alarm) it refuses whatever takes some, leases included, and serves
 * reads on: the cloud goes on as it is, says so, and tries no write that could only fail. Members are asked now and then,
 * because who writes nothing would not notice.
 */
import type { Clock, Log, Room } from '../hypervisor/ports.js'
import type { Etcd } from './etcd.js'

const askEveryMs = 1_000
const answerMs = 1_000

export interface RoomPorts {
  readonly etcd: Etcd
  readonly clock: Clock
  readonly log: Log
}

export class EtcdRoom implements Room {
  #full = false
  #closed = false
  #cancelTimer: (() => void) | undefined

  constructor(private readonly ports: RoomPorts) {}

  get full(): boolean {
    return this.#full
  }

  open(): void {
    if (this.ports.etcd.isFull) void this.#look()
  }

  close(): void {
    this.#closed = true
    this.#cancelTimer?.()
  }

  async #look(): Promise<void> {
    const { etcd, clock, log } = this.ports
    try {
      const full = (await etcd.isFull?.(answerMs)) ?? false
      if (full && !this.#full) log.error({}, 'etcd is full (NOSPACE): nothing is written until an operator makes room')
      if (!full && this.#full) log.info({}, 'etcd has room again')
      this.#full = full
    } catch {
      // Who does not answer says nothing of its room.
    }
    if (!this.#closed) this.#cancelTimer = clock.after(askEveryMs, () => void this.#look())
  }
}
