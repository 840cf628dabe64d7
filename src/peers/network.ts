/**
 * What links between replicas need of a network: connections that carry whole frames, in order, until they are closed.
 * `sockets.ts` makes them of websockets; the simulation has a network of its own.
 */

export interface ChannelEvents {
  onFrame(frame: Uint8Array): void
  /** Once; nothing comes after it. */
  onClosed(reason: string): void
}

/** A connection to another replica, authenticated by the secret that the replicas share. */
export interface Channel {
  /** Who hears what comes, from now on; what came since the channel opened is told first. */
  listen(events: ChannelEvents): void
  /** False when it is closed or congested: nothing was sent then. */
  send(frame: Uint8Array): boolean
  /** Orderly: what was sent still arrives. */
  close(): void
  /** At once. */
  terminate(): void
}

export interface PeerNetwork {
  /** Resolves when the channel is open; rejects with the reason why it cannot be. */
  dial(url: string): Promise<Channel>
  /** Who is called with the channels that others open. */
  onChannel(listener: (channel: Channel) => void): void
  /** Channels are refused from now on; those that are open stay. */
  refuse(): void
}
