/** Going back to a version that was active before, in one step. */
import type { BodyOf } from '../commands.js'
import type { CloudMap } from '../map.js'
import type { ComponentRecord } from '../records.js'
import { compareVersions, componentKey, normalised } from '../version.js'
import { highestActive, noted, previousOf } from './activations.js'
import { isGoing, switched } from './components.js'
import { type Context, done, refuse, unknown, type Verdict } from './verdict.js'

/** The version is active afterwards, and no higher one is. */
export function rollback(map: CloudMap, body: BodyOf<'rollback'>, context: Context): Verdict {
  const { component, to, force } = body
  if ([...map.versionsOf(component)].length === 0) return unknown('component', component)
  const target =
    to === undefined ? previousOf(map, component) : map.get('components', componentKey(component, to))?.value
  if (!target && to !== undefined) return unknown('component', `${component}/${to}`)
  if (!target) {
    return refuse('conflict', `nothing was active before this version of ${component}: say to which version to go back`)
  }
  const key = componentKey(component, target.version)
  if (map.get('removals', key)) return isGoing(key)
  const answer = { kind: 'components', ids: [key] } as const
  const now = highestActive(map, component)
  if (now === target) return done({ outcome: 'unchanged', ...answer })
  const running = (each: ComponentRecord | undefined): number =>
    each ? (map.tallyOf(componentKey(component, each.version)).byPhase['running'] ?? 0) : 0
  if (!force && running(target) === 0 && running(now) > 0) {
    const message = `${key} does not run, and ${now?.version} does: pages would have a hole. Activate and start it first, or force it`
    return refuse('conflict', message)
  }
  const changes = [...switchesTo(map, target)].map(record => switched(record, record === target, context))
  const all = noted(map, changes, target, 'rollback', context)
  const subjects = all.flatMap(each => (each.kind === 'components' ? [each.id] : []))
  return done({ outcome: 'changed', ...answer }, { changes: all, subjects })
}

function* switchesTo(map: CloudMap, target: ComponentRecord): Iterable<ComponentRecord> {
  for (const key of map.versionsOf(target.id)) {
    const record = map.get('components', key)?.value
    if (!record) continue
    const higher = compareVersions(normalised(record.version), normalised(target.version)) > 0
    if (record === target ? !record.active : record.active && higher) yield record
  }
}
