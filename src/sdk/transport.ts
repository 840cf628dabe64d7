/** What carries a node's session to a replica: frames in order, each once, until it ends. */
export interface Transport {
  readonly open: boolean
  /** Bytes that have not gone out. */
  readonly bufferedAmount: number
  send(frame: Uint8Array): void
  /** Asks for a sign of life. */
  ping(): void
  /** Together, so that they can go out together. */
  sendAndPing(frame: Uint8Array): void
  /** What was sent goes first. */
  close(): void
  terminate(): void
}

export interface TransportEvents {
  /** Frames pass from now on. */
  onOpen(): void
  onFrame(frame: Buffer): void
  /** A sign of life. */
  onHeard(): void
  /** Once, whoever ended it. */
  onEnd(end: TransportEnd): void
}

/**
 * `nobody`: nothing listens there, or it cannot be reached. `answered`: somebody answered, but not as a replica opens a
 * session. `broken`: it ended without a word. `closed`: the other side said so.
 */
export interface TransportEnd {
  readonly kind: 'nobody' | 'answered' | 'broken' | 'closed'
  readonly reason: string
}

const unreachable = /ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|ENOTFOUND|EAI_AGAIN|ETIMEDOUT|EADDRNOTAVAIL/

/** Of an error before anything was answered. */
export const endOf = (error: Error, connected: boolean): TransportEnd => {
  const { code = '' } = error as NodeJS.ErrnoException
  const nobody = !connected || unreachable.test(code)
  return { kind: nobody ? 'nobody' : 'broken', reason: error.message || code || 'it failed' }
}

/** A status that somebody answered with where a session was asked for. */
export const answeredWith = (status: number): TransportEnd => {
  const why = status === 401 || status === 403 ? ': is the credential of this node right?' : ''
  return { kind: 'answered', reason: `it answered ${status}${why}` }
}
