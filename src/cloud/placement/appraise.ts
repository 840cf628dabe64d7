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
/**
 * What is expected of large needs before anything is seen: so many motherships taken by them of all that is full, and that
 * belief weighs as much as so many that were seen.
 */
const expectedShare = 0.08
const expectedWeight = 2
/** Room is kept for what is to come until this share of everything is taken. */
const horizon = 0.75

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

/**
 * Empty ones are left to large needs while there are no more than are expected to come; they are taken when nothing else
 * fits. How many come is told by how many there are for what is taken already (the mean of a Poisson rate whose prior is
 * a gamma distribution), and one standard deviation more is kept.
 */
function keptOf(fleet: Fleet, need: Resources): Appraisal | undefined {
  const hosts = fleet.hosts()
  let [empty, large] = [0, 0]
  const taken = { cpu: 0, ram: 0, bandwidth: 0 }
  const all = { cpu: 0, ram: 0, bandwidth: 0 }
  for (const host of hosts) {
    if (isEmpty(host)) empty++
    else if (host.holdsLarge) large++
    for (const name of resourceNames) {
      taken[name] += host.reserved[name]
      all[name] += host.record.capacity[name]
    }
  }
  const share = Math.max(...resourceNames.map(name => taken[name] / Math.max(all[name], 1e-9)))
  if (empty > keptFor(large, share, hosts.length)) return undefined
  return { term: 'kept', of: host => (isEmpty(host) && !isLarge(need, host.record.capacity) ? 1 : 0) }
}

/** Of so many motherships, of which that share is taken and so many hold something large. */
export function keptFor(large: number, takenShare: number, count: number): number {
  const rate = (expectedWeight + large) / (expectedWeight / expectedShare + takenShare * count)
  const toCome = rate * count * Math.max(0, horizon - takenShare)
  return Math.floor(toCome + Math.sqrt(toCome))
}

const isEmpty = ({ reserved }: Host): boolean => resourceNames.every(name => reserved[name] === 0)
