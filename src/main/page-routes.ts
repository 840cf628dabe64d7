/**
 * What a rain server would make of a path, by the very code that rain servers run, on what the hypervisor wants of one.
 * The two rooms meet here only.
 */
import type { PageAt } from '../api/routing-schemas.js'
import type { CloudMap } from '../cloud/map.js'
import { beginning } from '../cloud/order.js'
import { wantedFor } from '../hypervisor/wanted.js'
import { order } from '../rain-server/choose.js'
import { routeOf } from '../rain-server/route.js'
import { readWanted } from '../rain-server/wanted.js'

export const pageAt =
  (map: CloudMap): PageAt =>
  (id, path, session) => {
    const entries = wantedFor(map, { kind: 'rainserver', id }, () => '')
    const { state } = readWanted({ order: beginning, entries })
    if (!state) return undefined
    const route = routeOf(state, path)
    if (route.kind === 'none') return { kind: 'none', reason: route.reason }
    const { component, kind } = route
    const reachable = (mothership: string): boolean =>
      state.wires.has(mothership) && map.get('sessions', `mothership/${mothership}`) !== undefined
    const copies = order(component, session ?? '', reachable).map(({ instance, mothership }) => ({
      instance,
      mothership,
      wired: state.wires.has(mothership),
      reachable: reachable(mothership),
    }))
    const { id: name, exact: version } = component
    return { kind, component: name, version, ...(kind === 'view' ? { view: route.view } : {}), copies }
  }
