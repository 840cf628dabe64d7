/** Links between simulated replicas: the port of `src/peers/network.ts` over the simulated network. */
import type { Channel, ChannelEvents, PeerNetwork } from '../../src/peers/network.js'
import type { Lane, Network } from './network.js'
import type { SimProcess } from './process.js'

const handshakeWithinMs = 2_000

interface Listener {
  readonly process: SimProcess
  readonly onChannel: (channel: Channel) => void
  refuses: boolean
}

export class Channels {
  readonly #listeners = new Map<string, Listener>()
  readonly #open = new Set<SimChannel>()

  constructor(readonly network: Network) {}

  /** What a process has of it. `kill` says whether the other ends hear of its end: those of a dead machine do not. */
  of(process: SimProcess, url: string): PeerNetwork & { kill(silently: boolean): void } {
    return {
      dial: to => this.#dial(process, to),
      onChannel: onChannel => void this.#listeners.set(url, { process, onChannel, refuses: false }),
      refuse: () => {
        const listener = this.#listeners.get(url)
        if (listener?.process === process) listener.refuses = true
      },
      kill: silently => {
        for (const channel of this.#open) if (channel.process === process) channel.die(silently)
      },
    }
  }

  /** Breaks every channel between the two: both ends hear of it. */
  reset(one: string, other: string): void {
    for (const channel of [...this.#open]) {
      if (channel.process.name === one && channel.to === other) channel.break('connection reset')
    }
  }

  #dial(from: SimProcess, url: string): Promise<Channel> {
    const { network } = this
    return new Promise((resolve, reject) => {
      const to = new URL(url).hostname
      let waits = true
      const settle = (tell: () => void): void => {
        if (waits) from.enter(tell)
        waits = false
      }
      network.world.after(handshakeWithinMs, from.name, () => settle(() => reject(new Error('handshake timeout'))))
      network.carry(from.name, to, () => {
        const listener = this.#listeners.get(url)
        if (!listener?.process.alive || listener.refuses) {
          return network.carry(to, from.name, () => settle(() => reject(new Error('connection refused'))))
        }
        const [here, there] = this.#pair(from, listener.process)
        listener.process.enter(() => listener.onChannel(there))
        network.carry(to, from.name, () => {
          if (waits) settle(() => resolve(here))
          else here.break('nobody waits for it')
        })
      })
    })
  }

  #pair(from: SimProcess, to: SimProcess): [SimChannel, SimChannel] {
    const over = (channel: SimChannel): void => void this.#open.delete(channel)
    const here = new SimChannel(this.network, from, to.name, over)
    const there = new SimChannel(this.network, to, from.name, over)
    here.other = there
    there.other = here
    this.#open.add(here).add(there)
    return [here, there]
  }
}

class SimChannel implements Channel {
  other!: SimChannel
  #events: ChannelEvents | undefined
  readonly #early: Uint8Array[] = []
  readonly #lane: Lane = { arrivesMs: 0 }
  #closed: string | undefined

  constructor(
    private readonly network: Network,
    readonly process: SimProcess,
    readonly to: string,
    private readonly onOver: (channel: SimChannel) => void,
  ) {}

  listen(events: ChannelEvents): void {
    this.#events = events
    for (const frame of this.#early.splice(0)) this.#onFrame(frame)
    if (this.#closed !== undefined) events.onClosed(this.#closed)
  }

  send(frame: Uint8Array): boolean {
    if (this.#closed !== undefined) return false
    const copy = Buffer.from(frame)
    this.#carry(() => this.other.arrive(copy))
    return true
  }

  close(): void {
    this.#carry(() => this.other.end('closed'))
    this.end('closed')
  }

  terminate(): void {
    this.close()
  }

  arrive(frame: Uint8Array): void {
    this.process.enter(() => this.#onFrame(frame))
  }

  end(reason: string): void {
    this.process.enter(() => {
      if (this.#closed !== undefined) return
      this.#closed = reason
      this.onOver(this)
      this.#events?.onClosed(reason)
    })
  }

  /** Both ends hear of it. */
  break(reason: string): void {
    this.end(reason)
    this.other.end(reason)
  }

  /** With its process. */
  die(silently: boolean): void {
    this.onOver(this)
    if (!silently) this.#carry(() => this.other.end('connection reset'))
  }

  #carry(deliver: () => void): void {
    // What is lost on the way is a hole in the stream: neither end can go on.
    this.network.carry(this.process.name, this.to, deliver, () => this.break('connection lost'), this.#lane)
  }

  #onFrame(frame: Uint8Array): void {
    if (this.#closed !== undefined) return
    if (this.#events) this.#events.onFrame(frame)
    else this.#early.push(frame)
  }
}
