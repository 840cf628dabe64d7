/**
 * What the local nodes are to do: the rain server whatever the cloud wants of it, with the version that is being written
 * in place of the cloud's; the mothership this one version alone. Pure.
 */

import { intentsOf } from '../../cloud/component/intents.js'
import type { Package } from '../../cloud/component/package.js'
import type { WantedComponent, WantedInstance, WantedWire } from '../../protocol/messages.js'

/** Its node id in the page's marks, too. */
export const localMothership = 'rain-dev'

/** What is asked of motherships is no matter here. */
const need = { cpu: 1000, ram: 512, bandwidth: 100_000 }

export type Entries = Readonly<Record<string, unknown>>
export type LocalPackage = Pick<Package, 'descriptor' | 'normalised' | 'digest' | 'size' | 'views'>

export const instanceOf = ({ descriptor }: LocalPackage): string => `${descriptor.id}.dev`

/** `epoch`, `journals`: of a component that keeps state; its only copy is here. */
export interface Copy {
  readonly generation: number
  readonly epoch: number
  readonly journals: Readonly<Record<string, string>>
}

export function forMothership(
  local: LocalPackage | undefined,
  copy: Copy,
  key: { readonly id: string; readonly publicKey: string },
): Entries {
  const keys = { keys: [{ id: key.id, publicKey: key.publicKey }] }
  if (!local) return { keys }
  const { descriptor, normalised, digest, size } = local
  const { generation, epoch, journals } = copy
  const wanted: WantedInstance = {
    component: descriptor.id,
    version: normalised,
    digest,
    size,
    role: 'primary',
    epoch,
    generation,
    isolation: 'shared',
    need: { ...need, ...descriptor.need },
    ...(descriptor.state === 'kept'
      ? { kept: { primary: localMothership, inSync: [localMothership], learners: [], journals, inSyncMin: 1 } }
      : {}),
  }
  return { keys, [`instances/${instanceOf(local)}`]: wanted }
}

/** The cloud's other versions are found by their exact names only, so that pages that name none show the local one. */
export function forRainServer(
  cloud: ReadonlyMap<string, unknown>,
  local: LocalPackage | undefined,
  { runs, wire }: { readonly runs: boolean; readonly wire: WantedWire },
): Entries {
  const entries: Record<string, unknown> = Object.fromEntries(cloud)
  if (entries['server']) entries['server'] = { ...(entries['server'] as object), developing: true }
  entries[`wires/${localMothership}`] = wire
  if (!local) return entries
  const { descriptor, normalised } = local
  for (const [key, value] of cloud) {
    if (key.startsWith(`components/${descriptor.id}/`)) entries[key] = { ...(value as object), active: false }
  }
  entries[`components/${descriptor.id}/${normalised}`] = wantedOf(local, runs)
  return entries
}

function wantedOf(local: LocalPackage, runs: boolean): WantedComponent {
  const { descriptor, normalised, views } = local
  const intents = intentsOf(descriptor).map(({ category, action, provider }) => ({ category, action, provider }))
  return {
    id: descriptor.id,
    version: normalised,
    exact: descriptor.version,
    active: true,
    views: views.map(each => each.id),
    terms: Object.fromEntries(views.flatMap(({ id, terms }) => (terms ? [[id, terms]] : []))),
    ...(intents.length > 0 ? { intents } : {}),
    ...(descriptor.pageTitle === undefined ? {} : { pageTitle: descriptor.pageTitle }),
    copies: runs ? [{ instance: instanceOf(local), mothership: localMothership, epoch: 1 }] : [],
  }
}
