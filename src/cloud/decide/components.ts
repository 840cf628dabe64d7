/** Component versions: deployed (immutable), activated, undeployed. */
import type { BodyOf } from '../commands.js'
import { byId } from '../ids.js'
import { type CloudMap, copiesOf } from '../map.js'
import { type Change, type ComponentRecord, put, remove } from '../records.js'
import { normaliseVersion } from '../version.js'
import { type Context, change, done, refuse, type Step, settingsOf, unknown, type Verdict } from './verdict.js'

/** `id/1.2.0`: how a version is named in the map. */
export const componentKey = (id: string, version: string): string => `${id}/${normaliseVersion(version) ?? version}`

export function deploy(map: CloudMap, body: BodyOf<'deploy'>, context: Context): Verdict {
  const wanted = body.component
  const key = componentKey(wanted.id, wanted.version)
  const answer = { kind: 'components' as const, ids: [key] }
  const before = map.get('components', key)?.value
  if (before) {
    if (before.digest === wanted.digest) return done({ outcome: 'unchanged', ...answer })
    return otherDigest(key, before.version, before.digest, wanted.digest)
  }
  const former = map.get('undeployed', key)?.value
  if (former && former.digest !== wanted.digest) return otherDigest(key, wanted.version, former.digest, wanted.digest)
  const value: ComponentRecord = {
    ...wanted,
    schema: 1,
    active: body.activate,
    activation: [{ active: body.activate, at: context.at, by: context.actor.subject }],
    deployedAt: context.at,
    deployedBy: context.actor.subject,
  }
  const changes = [put('components', key, value), ...(former ? [remove('undeployed', key)] : [])]
  return {
    kind: 'do',
    steps: [{ changes, subjects: [key] }],
    answer: { outcome: 'created', ...answer },
    needsBlobs: { digest: wanted.digest, chunks: wanted.chunks },
  }
}

const otherDigest = (key: string, version: string, there: string, sent: string): Verdict =>
  refuse(
    'conflict',
    `${key} is ${there} (deployed as ${version}), the package sent is ${sent}: a version never changes, raise its number`,
  )

const historyMax = 50

export function activate(map: CloudMap, body: BodyOf<'activate'>, context: Context): Verdict {
  const key = componentKey(body.component, body.version)
  const before = map.get('components', key)?.value
  if (!before) return unknown('component', key)
  const answer = { kind: 'components' as const, ids: [key] }
  if (before.active === body.active) return done({ outcome: 'unchanged', ...answer })
  const activation = [...before.activation, { active: body.active, at: context.at, by: context.actor.subject }]
  const value = { ...before, active: body.active, activation: activation.slice(-historyMax) }
  return change({ outcome: 'changed', ...answer }, put('components', key, value))
}

/** An instance and what was observed of it go together, also what is observed before this is written. */
export function stopOf(map: CloudMap, instance: string): Change[] {
  const value = map.get('instances', instance)?.value
  if (!value) return []
  const moves = map.get('moves', instance) ? [remove('moves', instance)] : []
  return [
    remove('instances', instance),
    ...moves,
    ...copiesOf(value).map(id => remove('observed', `${id}/${instance}`)),
  ]
}

/**
 * All instances of the version, then the version itself. It is made inactive first, in the same transaction as the
 * first instances, so that whoever looks in between starts nothing new.
 */
export function undeploy(map: CloudMap, body: BodyOf<'undeploy'>, context: Context): Verdict {
  const key = componentKey(body.component, body.version)
  const before = map.get('components', key)?.value
  // Removed by another call between two parts of this one: it is as was asked.
  if (!before && context.resume) {
    return done({ outcome: 'removed', kind: 'components', ids: [key], touched: context.resume.progress })
  }
  if (!before) return unknown('component', key)
  const used = settingsOf(map).errorComponent
  if (used === before.id && [...map.versionsOf(before.id)].length === 1) {
    return refuse('conflict', `${before.id} is the platform's error component: name another one in the settings first`)
  }
  const instances = [...map.instancesOf(key)].sort(byId)
  const retire = put('components', key, { ...before, active: false })
  const steps = instances.map((id, index) => ({
    changes: [...(index === 0 ? [retire] : []), ...stopOf(map, id)],
    subjects: index === 0 ? [key, id] : [id],
  }))
  const last: Step = {
    changes: [remove('components', key), put('undeployed', key, { schema: 1, digest: before.digest, at: context.at })],
    subjects: [key],
    dropsBlobs: { digest: before.digest, chunks: before.chunks },
  }
  const touched = instances.length + (context.resume?.progress ?? 0)
  const answer = { outcome: 'removed', kind: 'components', ids: [key], touched } as const
  return done(answer, ...steps, last)
}
