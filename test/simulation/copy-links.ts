/** Connections between simulated motherships, one for each pair: the lower id dials, the newest one counts. */
import type { Carried } from '../../src/mothership/state/carried.js'
import type { Channel, PeerNetwork } from '../../src/peers/network.js'
import type { Dice } from './dice.js'
import type { SimProcess } from './process.js'

export interface CopyLinkEvents {
  onLink(mothership: string, up: boolean): void
  onCarried(from: string, instance: string, carried: Carried): void
}

interface Connection {
  readonly channel: Channel
  heardMs: number
}

type Frame =
  | { readonly hello: string }
  | { readonly ping: true }
  | { readonly pong: true }
  | { readonly instance: string; readonly carried: Carried }

const pingEveryMs = 250
const silentMaxMs = 1_000

export const copyUrlOf = (mothership: string): string => `ws://${mothership}:1`

export class SimCopyLinks {
  readonly #connections = new Map<string, Connection>()
  #closed = false

  constructor(
    private readonly self: string,
    others: readonly string[],
    private readonly process: SimProcess,
    private readonly network: PeerNetwork,
    private readonly dice: Dice,
    private readonly events: CopyLinkEvents,
  ) {
    network.onChannel(channel => this.#accept(channel))
    for (const other of others) if (self < other) this.#dial(other)
    this.#ping()
  }

  send(to: string, instance: string, carried: Carried): void {
    this.#say(this.#connections.get(to)?.channel, { instance, carried })
  }

  silentForMs(mothership: string): number {
    const heardMs = this.#connections.get(mothership)?.heardMs
    return heardMs === undefined ? Number.POSITIVE_INFINITY : this.process.nowMs() - heardMs
  }

  close(): void {
    this.#closed = true
    for (const { channel } of this.#connections.values()) channel.close()
  }

  #dial(other: string): void {
    const again = (): void => {
      if (!this.#closed) this.process.after(this.dice.between(40, 200), () => this.#dial(other))
    }
    this.network.dial(copyUrlOf(other)).then(channel => {
      this.#say(channel, { hello: this.self })
      this.#open(other, channel, again)
    }, again)
  }

  #accept(channel: Channel): void {
    let from: string | undefined
    channel.listen({
      onFrame: frame => {
        const message = JSON.parse(Buffer.from(frame).toString()) as Frame
        if ('hello' in message) {
          from = message.hello
          this.#up(from, channel)
        } else if (from !== undefined) this.#hear(from, channel, message)
      },
      onClosed: () => {
        if (from !== undefined) this.#down(from, channel)
      },
    })
  }

  #open(other: string, channel: Channel, again: () => void): void {
    this.#up(other, channel)
    channel.listen({
      onFrame: frame => this.#hear(other, channel, JSON.parse(Buffer.from(frame).toString()) as Frame),
      onClosed: () => {
        this.#down(other, channel)
        again()
      },
    })
  }

  #up(other: string, channel: Channel): void {
    const before = this.#connections.get(other)
    this.#connections.delete(other)
    if (before) {
      this.events.onLink(other, false)
      before.channel.close()
    }
    this.#connections.set(other, { channel, heardMs: this.process.nowMs() })
    this.events.onLink(other, true)
  }

  #down(other: string, channel: Channel): void {
    if (this.#connections.get(other)?.channel !== channel) return
    this.#connections.delete(other)
    this.events.onLink(other, false)
  }

  #hear(from: string, channel: Channel, message: Frame): void {
    const connection = this.#connections.get(from)
    if (connection?.channel !== channel) return
    connection.heardMs = this.process.nowMs()
    if ('ping' in message) this.#say(channel, { pong: true })
    else if ('carried' in message) this.events.onCarried(from, message.instance, message.carried)
  }

  #say(channel: Channel | undefined, frame: Frame): void {
    channel?.send(Buffer.from(JSON.stringify(frame)))
  }

  #ping(): void {
    if (this.#closed) return
    for (const [other, { channel }] of [...this.#connections]) {
      if (this.silentForMs(other) <= silentMaxMs) this.#say(channel, { ping: true })
      else {
        this.#down(other, channel)
        channel.close()
      }
    }
    this.process.after(pingEveryMs, () => this.#ping())
  }
}
