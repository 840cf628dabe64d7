/** What a policy looks at beside how full a mothership gets. */
import type { Resources } from '../resources.js'
import type { Settings } from '../settings.js'
import { headroom, unreserved } from './amounts.js'
import type { Fleet } from './fleet.js'
import { type Host, isLarge, resourceNames } from './host.js'
import type { Appraisal } from './score.js'

/**
 * What it costs to take a mothership that is empty, in whole motherships: where every other place would waste more, a new
 * one is begun. Any-fit heuristics never do that, and end with more motherships in use.
 */
const emptyCost = 0.3
/** The more those in use could still take of what usually runs, the more it costs: what was begun for them waits for them. */
const stockCost = 0.5
/** So many of all motherships are for large needs: those that hold one, and empty ones. */
const keptShare = 0.04

/** Undefined where the policy looks at nothing else. */
export function appraisalOf(fleet: Fleet, need: Resources, settings: Settings): Appraisal | undefined {
  if (settings.policy === 'pack') return wasteOf(fleet, need, settings)
  return settings.policy === 'balanced' ? keptOf(fleet, need) : undefined
}

function wasteOf(fleet: Fleet, need: Resources, { overcommit, ceilings }: Settings): Appraisal {
  const { worth } = fleet
  const key = `${need.cpu} ${need.ram} ${need.bandwidth}`
  const beginning = emptyCost + stockCost * fleet.stock
  const of = (host: Host): number => {
    if (isEmpty(host)) return beginning
    const known = fleet.appraised(host)
    let waste = known.get(key)
    if (waste === undefined) {
      const room = (name: (typeof resourceNames)[number]): number =>
        Math.min(unreserved(host, name, overcommit), headroom(host, name, ceilings))
      waste = worth.regret({ cpu: room('cpu'), ram: room('ram'), bandwidth: room('bandwidth') }, need)
      known.set(key, waste)
    }
    return waste
  }
  return { term: 'waste', of }
}

/** Empty ones are left to large needs while no more than a few are for those; they are taken when nothing else fits. */
function keptOf(fleet: Fleet, need: Resources): Appraisal | undefined {
  const hosts = fleet.hosts()
  let forLarge = 0
  for (const host of hosts) if (isEmpty(host) || host.holdsLarge) forLarge++
  if (forLarge > Math.floor(keptShare * hosts.length)) return undefined
  return { term: 'kept', of: host => (isEmpty(host) && !isLarge(need, host.record.capacity) ? 1 : 0) }
}

const isEmpty = ({ reserved }: Host): boolean => resourceNames.every(name => reserved[name] === 0)
