/** A rain server as wiring knows it. */
import type { WiringRecord } from '../records.js'
import { Counts, Flags } from './names.js'
import type { Territory } from './reach.js'

export interface Server {
  readonly id: string
  readonly number: number
  urls: readonly string[]
  territory: Territory
  /** By number of the mothership. */
  readonly wired: Flags
  /** Numbers of the motherships, by name. */
  readonly wires: number[]
  /** By number of a mothership that it is wired to: for how many versions it would be short without that wire. */
  readonly needed: Counts
  /** Wires that no version needs: they employ an idle copy, or wait for a mothership that is away, or are of no use. */
  readonly loose: Set<number>
  /** It takes visitors: copies that it is wired to are not idle. */
  user: boolean
  /** A record that names the same wires, where one is known. */
  record: WiringRecord | undefined
}

export const aServer = (its: Pick<Server, 'id' | 'number' | 'urls' | 'territory' | 'user'>): Server => ({
  ...its,
  ...{ wired: new Flags(), wires: [], needed: new Counts(), loose: new Set<number>(), record: undefined },
})
