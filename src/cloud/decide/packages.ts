/** The space that packages take in etcd: how much they may, and chunks that nothing refers to. */
import type { BodyOf } from '../commands.js'
import { CloudError } from '../errors.js'
import { byId } from '../ids.js'
import type { CloudMap } from '../map.js'
import type { ComponentRecord } from '../records.js'
import { done, type Step, settingsOf, type Verdict } from './verdict.js'

const mebibyte = 1024 * 1024
const suggestedMax = 5

/** Bytes of the packages of all versions. */
export function packageBytes(map: CloudMap): number {
  let bytes = 0
  for (const [, { value }] of map.all('components')) bytes += value.size
  return bytes
}

/** Says how much there is, and what could go. */
export function overBudget(
  map: CloudMap,
  wanted: Pick<ComponentRecord, 'id' | 'version' | 'size'>,
): CloudError | undefined {
  const { packageBudgetMiB } = settingsOf(map)
  const used = packageBytes(map)
  if (used + wanted.size <= packageBudgetMiB * mebibyte) return undefined
  const idle = idleVersions(map).slice(0, suggestedMax)
  const advice =
    idle.length > 0
      ? `undeploy what is not needed (inactive and without instances: ${idle.join(', ')})`
      : 'undeploy what is not needed (every version is active or has instances)'
  return new CloudError(
    'over-budget',
    `packages take ${shown(used)} of ${packageBudgetMiB} MiB, and ${wanted.id}/${wanted.version} takes ` +
      `${shown(wanted.size)} more: ${advice}, or raise the setting packageBudgetMiB`,
  )
}

const shown = (bytes: number): string => `${(bytes / mebibyte).toFixed(bytes < mebibyte ? 3 : 1)} MiB`

/** The largest first. */
function idleVersions(map: CloudMap): string[] {
  return [...map.all('components')]
    .filter(([key, { value }]) => !value.active && map.tallyOf(key).total === 0)
    .sort(([a, left], [b, right]) => right.value.size - left.value.size || byId(a, b))
    .map(([key, { value }]) => `${key} ${shown(value.size)}`)
}

const referredTo = (map: CloudMap): Set<string> =>
  new Set([...map.all('components')].map(([, { value }]) => value.digest))

/** Whoever is about to register that package finds its chunks gone, and stores them again. */
export function dropPackage(map: CloudMap, { digest, chunks }: BodyOf<'drop-package'>): Verdict {
  const answer = { kind: 'components', ids: [digest] } as const
  if (referredTo(map).has(digest)) return done({ outcome: 'unchanged', ...answer })
  return done({ outcome: 'removed', ...answer }, dropOf(digest, chunks))
}

const dropOf = (digest: string, chunks: number): Step => ({
  changes: [],
  subjects: [digest],
  dropsBlobs: { digest, chunks },
})

/** Of what is stored, what nothing refers to. */
export const unreferenced = (map: CloudMap, stored: ReadonlyMap<string, number>): [string, number][] => {
  const needed = referredTo(map)
  return [...stored].filter(([digest]) => !needed.has(digest))
}

/** One transaction for each: a package may be of many chunks. */
export const collect = (map: CloudMap, stored: ReadonlyMap<string, number>): Step[] =>
  unreferenced(map, stored).map(([digest, chunks]) => dropOf(digest, chunks))
