/**
 * The wires made of polls, by the name that this replica gave each when it was opened. A node cannot choose the name, so
 * a request that a proxy sends again, however late, never brings back a session that is over (N2).
 */
import { CloudError } from '../cloud/errors.js'
import { type NodeRef, nodeName } from '../cloud/ids.js'
import type { PollCall, Polls } from '../hypervisor/polls.js'
import type { Chance, Clock } from '../hypervisor/ports.js'
import { decodeBatch, holdMsMax } from '../protocol/poll.js'
import { PollWire } from './poll-wire.js'
import type { Wire } from './wire.js'

interface PollPorts {
  readonly clock: Clock
  readonly chance: Chance
  /** Why not. */
  readonly mayBegin: (node: NodeRef) => string | undefined
  readonly begin: (wire: Wire, node: NodeRef, credential: string) => void
}

const nameLength = 32
/** Of wires that are over, so that who still polls is told why. */
const rememberedMax = 1_000

export class PollBook implements Polls {
  readonly #wires = new Map<string, { readonly wire: PollWire; readonly node: string }>()
  readonly #over = new Map<string, string>()

  constructor(private readonly ports: PollPorts) {}

  open(node: NodeRef, credential: string): string {
    const { clock, chance, mayBegin, begin } = this.ports
    const objection = mayBegin(node)
    if (objection !== undefined) throw new CloudError('busy', objection, { retryAfterS: 1 })
    const name = chance.id(nameLength)
    const wire: PollWire = new PollWire(clock, () => this.#onOver(name, wire))
    this.#wires.set(name, { wire, node: nodeName(node) })
    begin(wire, node, credential)
    return name
  }

  async poll({ node, connection, body, holdMs, last, whenOver }: PollCall): Promise<Buffer> {
    const known = this.#wires.get(connection)
    if (!known || known.node !== nodeName(node)) {
      throw new CloudError(
        'unknown-thing',
        `no such connection: ${this.#over.get(connection) ?? 'it is not known here'}`,
      )
    }
    const batch = body.byteLength === 0 ? { first: 0, arrived: 0, frames: [] } : decodeBatch(body)
    if (!batch) throw new CloudError('bad-request', 'the body is no batch of frames')
    const forget = whenOver(() => known.wire.forsake())
    try {
      return await known.wire.receive({ batch, holdMs: Math.min(holdMs, holdMsMax), last })
    } finally {
      forget()
    }
  }

  #onOver(name: string, wire: PollWire): void {
    this.#wires.delete(name)
    this.#over.set(name, wire.said)
    if (this.#over.size > rememberedMax) this.#over.delete(this.#over.keys().next().value!)
  }
}
