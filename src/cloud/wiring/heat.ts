/** How warm motherships are: the fuller of processor and network, in shares of what they have. Memory takes no wires. */
import type { CloudMap } from '../map.js'
import type { Resources } from '../resources.js'

/** By id of the mothership. */
export type HeatOf = (mothership: string) => number

/** By what is measured, and by what is reserved where nothing is. */
export const heatBy =
  (map: CloudMap, measured: (mothership: string) => Pick<Resources, 'cpu' | 'bandwidth'> | undefined): HeatOf =>
  mothership => {
    const capacity = map.get('motherships', mothership)?.value.capacity
    if (!capacity) return 0
    const used = measured(mothership) ?? map.heldOn(mothership).reserved
    return Math.max(share(used.cpu, capacity.cpu), share(used.bandwidth, capacity.bandwidth))
  }

export const reservedHeat = (map: CloudMap): HeatOf => heatBy(map, () => undefined)

const share = (used: number, of: number): number => (of > 0 ? used / of : 0)
