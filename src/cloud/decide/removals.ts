/**
 * Undeploying: the version is retired, so that nothing new starts and pages turn to others; its instances stop in order,
 * some hundreds at a time; then it goes, with its package. It is a record of the map, so a new leader goes on with it.
 */
import type { BodyOf } from '../commands.js'
import { byId } from '../ids.js'
import type { CloudMap } from '../map.js'
import { type Change, type ComponentRecord, put, remove } from '../records.js'
import { noted } from './activations.js'
import { componentKey } from './components.js'
import { beginStop } from './stops.js'
import { type Context, done, refuse, type Step, settingsOf, unknown, type Verdict } from './verdict.js'

/** Instances that stop at the same time. */
const stoppingMax = 500

/** What the platform itself uses a component for. */
function usedAs(map: CloudMap, component: string): 'error' | 'loading' | undefined {
  const { errorComponent, loadingComponent } = settingsOf(map)
  return errorComponent === component ? 'error' : loadingComponent === component ? 'loading' : undefined
}

export function undeploy(map: CloudMap, body: BodyOf<'undeploy'>, context: Context): Verdict {
  const key = componentKey(body.component, body.version)
  const before = map.get('components', key)?.value
  if (!before) return unknown('component', key)
  const answer = { kind: 'components' as const, ids: [key] }
  const touched = map.tallyOf(key).total
  if (map.get('removals', key)) return done({ outcome: 'unchanged', ...answer, touched })
  const use = usedAs(map, before.id)
  if (use !== undefined && [...map.versionsOf(before.id)].length === 1) {
    return refuse('conflict', `${before.id} is the platform's ${use} component: name another one in the settings first`)
  }
  if (touched === 0) {
    const gone = [remove('components', key)]
    const word = before.active ? noted(map, gone, before, 'undeploy', context).slice(1) : []
    return done({ outcome: 'removed', ...answer, touched }, lastStep(map, key, before, context.at, word))
  }
  const retired = [put('components', key, { ...before, active: false })]
  const changes = [
    ...(before.active ? noted(map, retired, before, 'undeploy', context) : retired),
    put('removals', key, { schema: 1, since: context.at, by: context.actor.subject, total: touched }),
  ]
  return done({ outcome: 'changed', ...answer, touched }, { changes, subjects: [key] })
}

export function advanceRemovals(map: CloudMap, at: string): Step[] {
  if (map.count('removals') === 0) return []
  let room = stoppingMax - map.count('stops')
  const steps: Step[] = []
  for (const key of [...map.all('removals')].map(([each]) => each).sort(byId)) {
    const component = map.get('components', key)?.value
    const ids = [...map.instancesOf(key)]
    if (!component) steps.push({ changes: [remove('removals', key)], subjects: [key] })
    else if (ids.length === 0) steps.push(lastStep(map, key, component, at))
    for (const id of ids) {
      if (room <= 0) break
      if (map.get('stops', id)) continue
      room--
      steps.push({ changes: beginStop(map, map.get('instances', id)!.value, at), subjects: [id] })
    }
  }
  return steps
}

/** The version may come back with the same bytes only. `word`: on it in the history of its component. */
function lastStep(
  map: CloudMap,
  key: string,
  { id, digest, chunks }: ComponentRecord,
  at: string,
  word: readonly Change[] = [],
): Step {
  const others = [...map.versionsOf(id)].some(each => each !== key)
  const history = others ? word : map.get('activations', id) ? [remove('activations', id)] : []
  const changes = [
    remove('components', key),
    put('undeployed', key, { schema: 1, digest, at }),
    ...(map.get('removals', key) ? [remove('removals', key)] : []),
    ...history,
  ]
  return { changes, subjects: [key], dropsBlobs: { digest, chunks } }
}
