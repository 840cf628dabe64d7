/**
 * What the leader does unasked for an instance that keeps state: changes its configuration, one fenced step at a time,
 * by what its copies say of themselves (reliability.md, section 3). Nothing here is asked of a copy: each acts on the
 * configuration that it reads back.
 *
 * Only copies in sync whose journal is the registered one are ever made primary; where there is none, nothing is done,
 * and the instance waits for its motherships (rules 6, 12, 13, 15).
 */
import { byId } from '../ids.js'
import type { CloudMap } from '../map.js'
import { type CopyReport, type Decision, type InstanceRecord, type ObservedRecord, put } from '../records.js'
import { failsEverywhere } from './quarantine.js'
import type { Step } from './verdict.js'
import { forget, isDraining, isLost, isOverdue, more, sameSet, type UpkeepContext } from './whereabouts.js'

type Configuration = Pick<InstanceRecord, 'primary' | 'inSync' | 'learners' | 'journals'>

interface Next extends Partial<Configuration> {
  readonly decision?: Decision
  /** An epoch more, though nothing else is new. */
  readonly renewed?: true
}

/** The one change that brings it nearer to what it should be; undefined when there is none. */
export function repairKept(map: CloudMap, before: InstanceRecord, context: UpkeepContext): Step | undefined {
  const copies = new Copies(map, before, context)
  const next =
    promoted(copies) ?? registered(copies) ?? demoted(copies) ?? dropped(copies) ?? admitted(copies) ?? replaced(copies)
  if (!next) return undefined
  const { decision, renewed, ...configuration } = next
  const value: InstanceRecord = ordered({ ...before, ...configuration, epoch: before.epoch + 1 })
  if (!renewed && sameConfiguration(before, value)) return undefined
  const decisions = decision && [{ instance: before.id, decision }]
  const changes = [put('instances', before.id, value), ...forget(before, value)]
  return { changes, subjects: [before.id], ...(decisions ? { decisions } : {}) }
}

/** What is known of the copies of one instance. */
class Copies {
  constructor(
    readonly map: CloudMap,
    readonly instance: InstanceRecord,
    readonly context: UpkeepContext,
  ) {}

  get registered(): Readonly<Record<string, string>> {
    return this.instance.journals ?? {}
  }

  observed(mothership: string): ObservedRecord | undefined {
    return this.map.get('observed', `${mothership}/${this.instance.id}`)?.value
  }

  /** What it asks for: heard only in the epoch in which it is said. */
  asks(mothership: string): CopyReport | undefined {
    const observed = this.observed(mothership)
    return observed?.epoch === this.instance.epoch ? observed.copy : undefined
  }

  /** Said in the session that its mothership has now: a process that was started again has said it anew. */
  saysNow(mothership: string): CopyReport | undefined {
    const observed = this.observed(mothership)
    const session = this.map.get('sessions', `mothership/${mothership}`)
    return session && observed?.session === session.modified ? observed.copy : undefined
  }

  isHere(mothership: string): boolean {
    return this.context.goneForMs(mothership) === undefined && this.map.get('motherships', mothership) !== undefined
  }

  isLost(mothership: string): boolean {
    return isLost(this.map, mothership, this.context)
  }

  failed(mothership: string): boolean {
    const { component, version } = this.instance
    return this.observed(mothership)?.phase === 'failed' && !failsEverywhere(this.map, `${component}/${version}`)
  }

  runs(mothership: string): boolean {
    return this.observed(mothership)?.phase === 'running'
  }

  leaves(mothership: string): boolean {
    return isDraining(this.map, mothership)
  }

  /**
   * Whether a primary that was started again is as good as any: each other copy in sync was started again too, or is
   * lost. One that was not would be made primary instead, as soon as it has said so.
   */
  get nobodyBetter(): boolean {
    const { inSync, primary } = this.instance
    const others = inSync.filter(id => id !== primary && !this.isLost(id))
    return others.every(id => {
      const says = this.saysNow(id)
      return says !== undefined && (!says.sound || says.wants === 'lost')
    })
  }

  /** May be made primary: in sync, there, and with the journal that counts. */
  promotable(mothership: string): boolean {
    if (!this.instance.inSync.includes(mothership) || !this.isHere(mothership) || this.failed(mothership)) return false
    const says = this.saysNow(mothership)
    return says !== undefined && says.journal === this.registered[mothership] && says.wants !== 'lost'
  }
}

/**
 * A primary whose mothership is gone, or that is lost, gives way to another copy in sync at once; one that only leaves,
 * fails to run or was started again, to one that runs. The old one stays in sync until the new one has taken over and
 * asks to go on without it: should that be gone too, and back with less than it had, the old one is still as good. A
 * copy that was started again and has not followed a primary since has nothing but its disk's word for being complete:
 * it waits until the old primary is lost for good.
 */
function promoted(copies: Copies): Next | undefined {
  const { primary, inSync, learners } = copies.instance
  const wants = copies.asks(primary)?.wants
  const gone = !copies.isHere(primary)
  const lost = wants === 'lost'
  const gentle = wants === 'renew' || copies.failed(primary) || copies.leaves(primary)
  if (!gone && !lost && !gentle) return undefined
  const others = inSync.filter(id => id !== primary && copies.promotable(id))
  const sound = others.filter(id => copies.saysNow(id)?.sound)
  const staying = (ids: readonly string[]): readonly string[] => {
    const better = ids.filter(id => !copies.leaves(id))
    return better.length > 0 ? better : gone || lost || wants === 'renew' ? ids : []
  }
  const unsound = lost || copies.isLost(primary) ? others : []
  const candidates = staying(sound.length > 0 ? sound : unsound)
  const to = [...candidates].sort((a, b) => rank(copies, a) - rank(copies, b) || byId(a, b))[0]
  if (to === undefined) return undefined
  if (!gone && !lost) return copies.runs(to) || wants === 'renew' ? { primary: to } : undefined
  const rest = inSync.filter(id => id !== primary)
  if (lost) return { primary: to, ...without(copies, rest, [...learners, primary]) }
  return copies.isLost(primary) ? { primary: to, ...without(copies, rest, learners) } : { primary: to }
}

/** Of several, one that runs, and with the longest history as the epoch began. */
function rank(copies: Copies, mothership: string): number {
  const seq = copies.saysNow(mothership)?.seq ?? 0
  return (copies.runs(mothership) ? 0 : 1) - seq / Number.MAX_SAFE_INTEGER
}

/** A fresh primary's journal is put down before it acknowledges anything; one that was started again gets a new epoch. */
function registered(copies: Copies): Next | undefined {
  const { primary, journals } = copies.instance
  const asks = copies.asks(primary)
  if (asks?.wants === 'renew') return copies.nobodyBetter ? { renewed: true } : undefined
  if (asks?.wants !== 'register' || copies.registered[primary] !== undefined) return undefined
  return { journals: { ...journals, [primary]: asks.journal } }
}

/** A backup that has lost its journal begins anew as a learner. */
function demoted(copies: Copies): Next | undefined {
  const { primary, inSync, learners } = copies.instance
  const lost = inSync.filter(id => id !== primary && copies.asks(id)?.wants === 'lost')
  if (lost.length === 0) return undefined
  return without(
    copies,
    inSync.filter(id => !lost.includes(id)),
    [...learners, ...lost],
  )
}

/**
 * What the primary goes on without: a backup learns again as soon as it is there, and is waited for until it is lost; a
 * learner that the primary waits for in vain is done with.
 */
function dropped(copies: Copies): Next | undefined {
  const { primary, inSync, learners } = copies.instance
  const drop = copies.asks(primary)?.drop ?? []
  const backups = inSync.filter(id => id !== primary && drop.includes(id))
  const rest = learners.filter(id => !drop.includes(id))
  if (backups.length === 0 && rest.length === learners.length) return undefined
  const again = backups.filter(id => !copies.isLost(id) && !copies.leaves(id))
  return without(
    copies,
    inSync.filter(id => !backups.includes(id)),
    [...rest, ...again],
  )
}

function admitted(copies: Copies): Next | undefined {
  const { primary, inSync, learners } = copies.instance
  const admit = copies.asks(primary)?.admit ?? {}
  const ready = learners.filter(id => admit[id] !== undefined && copies.isHere(id) && !copies.leaves(id))
  if (ready.length === 0) return undefined
  const journals = { ...copies.registered }
  for (const id of ready) journals[id] = admit[id]!
  return { inSync: [...inSync, ...ready], learners: learners.filter(id => !ready.includes(id)), journals }
}

/** As many copies as are asked for, on motherships that stay. A copy in sync goes only when enough others are. */
function replaced(copies: Copies): Next | undefined {
  const { map, instance, context } = copies
  const { primary, inSync, learners } = instance
  const wanted = instance.placement.copies ?? 1
  const fresh = Object.keys(copies.registered).length === 0
  if (fresh && (copies.isLost(primary) || copies.leaves(primary) || copies.failed(primary))) return afresh(copies)
  const stays = (id: string): boolean => !copies.leaves(id) && !copies.failed(id) && !copies.isLost(id)
  const learning = learners.filter(id => stays(id) || (copies.failed(id) && !copies.leaves(id) && !copies.isLost(id)))
  const staying = [...inSync, ...learning].filter(stays)
  const missing = wanted - staying.length
  const found = missing > 0 ? more(map, instance, missing, context) : undefined
  const [added, decision] = found?.kind === 'placed' ? [found.on, found.decision] : [[]]
  const standIns = staying.length + added.length >= wanted ? learning.filter(stays) : learning
  const kept = inSync.filter(id => id === primary || stays(id))
  const solid = kept.filter(stays).length
  const goes = (id: string): boolean =>
    !kept.includes(id) &&
    (solid >= wanted || (solid > 0 && (copies.isLost(id) || isOverdue(map, id, context)))) &&
    map.get('motherships', id) !== undefined
  const rest = inSync.filter(id => !goes(id))
  const shrunk = surplus(copies, rest, [...standIns, ...added], wanted)
  return { ...shrunk, ...(decision && added.length > 0 ? { decision } : {}) }
}

/** More than are wanted (fewer were asked for, a drain was cancelled): learners go first, the primary never. */
function surplus(copies: Copies, inSync: readonly string[], learners: readonly string[], wanted: number): Next {
  const { primary } = copies.instance
  const others = inSync.filter(id => id !== primary)
  if (inSync.some(id => copies.leaves(id) || copies.failed(id))) return without(copies, inSync, learners)
  const room = Math.max(0, wanted - 1)
  const held = others.sort((a, b) => Number(copies.isHere(b)) - Number(copies.isHere(a)) || byId(a, b)).slice(0, room)
  const least = Math.max(0, wanted - 1 - held.length)
  return without(copies, [primary, ...held], learners.slice(0, least))
}

/** Nothing was ever acknowledged: it may be put somewhere else as if it had just been asked for. */
function afresh(copies: Copies): Next | undefined {
  const { map, instance, context } = copies
  const found = more(map, instance, instance.placement.copies ?? 1, context)
  if (found.kind !== 'placed') return undefined
  const [primary, ...learners] = found.on as [string, ...string[]]
  return { primary, inSync: [primary], learners, journals: {}, decision: found.decision }
}

/** Journals count of copies in sync only. */
function without(copies: Copies, inSync: readonly string[], learners: readonly string[]): Next {
  const journals = Object.fromEntries(Object.entries(copies.registered).filter(([id]) => inSync.includes(id)))
  return { inSync: [...inSync], learners: [...learners], journals }
}

const ordered = (instance: InstanceRecord): InstanceRecord => ({
  ...instance,
  inSync: [...instance.inSync].sort(byId),
  learners: [...instance.learners].sort(byId),
})

const sameConfiguration = (a: InstanceRecord, b: InstanceRecord): boolean =>
  a.primary === b.primary &&
  sameSet(a.inSync, b.inSync) &&
  sameSet(a.learners, b.learners) &&
  JSON.stringify(Object.entries(a.journals ?? {}).sort()) === JSON.stringify(Object.entries(b.journals ?? {}).sort())

/** Whether a copy in sync is on a mothership that is there: otherwise the state cannot be reached. */
export const isReachable = (map: CloudMap, instance: InstanceRecord): boolean =>
  instance.inSync.some(id => map.get('sessions', `mothership/${id}`) !== undefined)
