/** A rain server's wanted state, read from its entries: what can be read is kept, what cannot is told. */
import { Compile } from 'typebox/compile'
import { WantedComponent, WantedServer, WantedWire } from '../protocol/messages.js'
import type { Refused, WantedState } from '../sdk/node-session.js'

export interface ServerState {
  readonly server: WantedServer
  /** Versions by component id. */
  readonly components: ReadonlyMap<string, readonly WantedComponent[]>
  readonly wires: ReadonlyMap<string, WantedWire>
}

const component = Compile(WantedComponent)
const wire = Compile(WantedWire)
const server = Compile(WantedServer)

export const nothingWanted: ServerState = {
  server: { urls: [], generation: 0, fragmentDeadlineMs: 1000, pageDeadlineMs: 3000, errorComponent: null },
  components: new Map(),
  wires: new Map(),
}

/** False: there is something to show, and nobody yet to ask for it, because the hypervisor has not wired it. */
export const isWired = ({ components, wires }: ServerState): boolean =>
  wires.size > 0 || [...components.values()].every(versions => versions.every(each => each.copies.length === 0))

/** Undefined state: the rain server is not registered (any more), so there is nothing that it may serve. */
export function readWanted({ entries }: WantedState): { state: ServerState | undefined; refused: Refused[] } {
  const refused: Refused[] = []
  const components = new Map<string, WantedComponent[]>()
  const wires = new Map<string, WantedWire>()
  let mine: WantedServer | undefined
  for (const [key, value] of entries) {
    if (key === 'server' && server.Check(value)) mine = value
    else if (key.startsWith('components/') && component.Check(value)) {
      const versions = components.get(value.id)
      if (versions) versions.push(value)
      else components.set(value.id, [value])
    } else if (key.startsWith('wires/') && wire.Check(value)) wires.set(value.mothership, value)
    else refused.push({ key, reason: 'cannot be read by this release' })
  }
  return { state: mine && { server: mine, components, wires }, refused }
}
