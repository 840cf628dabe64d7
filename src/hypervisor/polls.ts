/** Sessions of nodes whose websockets do not pass, as REST hands them on (N5). */
import type { NodeRef } from '../cloud/ids.js'

export interface PollCall {
  readonly node: NodeRef
  readonly connection: string
  readonly body: Buffer
  /** How long the answer may wait for something to say; 0: not at all. */
  readonly holdMs: number
  /** The node closes after this. */
  readonly last: boolean
  /** Calls back when nobody waits for the answer any more. Returns the unsubscribe function. */
  readonly whenOver: (end: () => void) => () => void
}

/** Both throw a `CloudError`: when the node may not have another one, when the connection is over. */
export interface Polls {
  /** Returns the name of a new connection. `credential`: the digest of what the node came in by. */
  open(node: NodeRef, credential: string): string
  /** A batch for a batch, once there is something to say or the time is up. */
  poll(call: PollCall): Promise<Buffer>
}
