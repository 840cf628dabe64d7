/**
 * Which version of a component is meant where none is named: the highest active one. What changed that is kept, so that
 * it can be taken back.
 */
import { Draft } from '../draft.js'
import type { CloudMap } from '../map.js'
import { type ActivationsRecord, type Change, type ComponentRecord, put } from '../records.js'
import { compareVersions, componentKey, normalised } from '../version.js'
import type { Context } from './verdict.js'

export type ActivationEntry = ActivationsRecord['entries'][number]

const entriesMax = 100

/** Undefined where none is active. */
export function highestActive(map: CloudMap, component: string): ComponentRecord | undefined {
  let best: ComponentRecord | undefined
  for (const key of map.versionsOf(component)) {
    const record = map.get('components', key)?.value
    if (record?.active && (!best || compareVersions(normalised(record.version), normalised(best.version)) > 0))
      best = record
  }
  return best
}

/** The changes, and a word on them in the history of the component. */
export function noted(
  map: CloudMap,
  changes: readonly Change[],
  { id, version }: Pick<ComponentRecord, 'id' | 'version'>,
  what: ActivationEntry['what'],
  context: Pick<Context, 'at' | 'actor'>,
): Change[] {
  const after = new Draft(map)
  after.add(changes)
  const [from, to] = [map, after].map(each => highestActive(each, id)?.version ?? null)
  const entry: ActivationEntry = {
    at: context.at,
    by: context.actor.subject,
    what,
    version,
    from: from ?? null,
    to: to ?? null,
  }
  const entries = [...historyOf(map, id), entry].slice(-entriesMax)
  return [...changes, put('activations', id, { schema: 1, id, entries })]
}

/** Oldest first. */
export const historyOf = (map: CloudMap, component: string): readonly ActivationEntry[] =>
  map.get('activations', component)?.value.entries ?? []

/**
 * The version that was meant before the one that is meant now came to be: what took something back is passed over, so
 * that going back twice goes further back. Versions that are not deployed any more are passed over, too.
 */
export function previousOf(map: CloudMap, component: string): ComponentRecord | undefined {
  const entries = historyOf(map, component).filter(each => each.what !== 'rollback' && each.from !== each.to)
  let current = highestActive(map, component)?.version ?? null
  for (let left = entries; ; ) {
    const index = left.findLastIndex(each => each.to === current)
    const from = left[index]?.from
    if (from === undefined || from === null) return undefined
    const record = map.get('components', componentKey(component, from))?.value
    if (record) return record
    current = from
    left = left.slice(0, index)
  }
}
