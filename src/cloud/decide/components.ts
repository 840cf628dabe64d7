/** Component versions: deployed (immutable), activated. */
import type { BodyOf } from '../commands.js'
import { CloudError } from '../errors.js'
import type { CloudMap } from '../map.js'
import { type Change, type ComponentRecord, put, remove } from '../records.js'
import { componentKey } from '../version.js'
import { noted } from './activations.js'
import { overBudget } from './packages.js'
import { type Context, done, refuse, unknown, type Verdict } from './verdict.js'

export { componentKey } from '../version.js'

/** With the same digest it is there already, or may come back; with another one it never can. */
export function otherDigest(
  map: CloudMap,
  { id, version, digest }: Pick<ComponentRecord, 'id' | 'version' | 'digest'>,
): CloudError | undefined {
  const key = componentKey(id, version)
  const there = map.get('components', key)?.value
  const former = there ?? map.get('undeployed', key)?.value
  if (!former || former.digest === digest) return undefined
  const was = there
    ? `is ${there.digest} (deployed as ${there.version})`
    : `was ${former.digest} until it was undeployed`
  const message = `${key} ${was}, the package sent is ${digest}: a version never changes, raise its number`
  return new CloudError('conflict', message)
}

export function deploy(map: CloudMap, body: BodyOf<'deploy'>, context: Context): Verdict {
  const wanted = body.component
  const key = componentKey(wanted.id, wanted.version)
  const answer = { kind: 'components' as const, ids: [key] }
  const refusal = otherDigest(map, wanted)
  if (refusal) return { kind: 'refuse', error: refusal }
  if (map.get('removals', key)) return isGoing(key)
  if (map.get('components', key)) return done({ outcome: 'unchanged', ...answer })
  const tooMuch = overBudget(map, wanted)
  if (tooMuch) return { kind: 'refuse', error: tooMuch }
  const value: ComponentRecord = {
    ...wanted,
    schema: 1,
    active: body.activate,
    activation: [{ active: body.activate, at: context.at, by: context.actor.subject }],
    deployedAt: context.at,
    deployedBy: context.actor.subject,
  }
  const deployed = [put('components', key, value)]
  const changes = body.activate ? noted(map, deployed, value, 'deploy', context) : deployed
  if (map.get('undeployed', key)) changes.push(remove('undeployed', key))
  return {
    kind: 'do',
    steps: [{ changes, subjects: [key] }],
    answer: { outcome: 'created', ...answer },
    needsBlobs: { digest: wanted.digest, chunks: wanted.chunks },
  }
}

export const isGoing = (key: string): Verdict =>
  refuse('conflict', `${key} is just being undeployed: ask again when it is gone`)

const historyMax = 50

export function activate(map: CloudMap, body: BodyOf<'activate'>, context: Context): Verdict {
  const key = componentKey(body.component, body.version)
  const before = map.get('components', key)?.value
  if (!before) return unknown('component', key)
  if (map.get('removals', key)) return isGoing(key)
  const answer = { kind: 'components' as const, ids: [key] }
  if (before.active === body.active) return done({ outcome: 'unchanged', ...answer })
  const what = body.active ? 'activate' : 'deactivate'
  const changes = noted(map, [switched(before, body.active, context)], before, what, context)
  return done({ outcome: 'changed', ...answer }, { changes, subjects: answer.ids })
}

/** The version made active, or inactive. */
export function switched(
  before: ComponentRecord,
  active: boolean,
  { at, actor }: Pick<Context, 'at' | 'actor'>,
): Change<'components'> {
  const activation = [...before.activation, { active, at, by: actor.subject }].slice(-historyMax)
  const key = componentKey(before.id, before.version)
  return { kind: 'components', id: key, value: { ...before, active, activation } }
}
