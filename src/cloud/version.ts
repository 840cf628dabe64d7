/**
 * Versions of components (rain-facts, section 5): 2 or 3 numeric parts, compared as numbers; a missing part of a
 * registered version counts as 0, a missing part of a fragment is a wildcard.
 */
const registered = /^(\d{1,9})\.(\d{1,9})(?:\.(\d{1,9}))?$/
const fragmentary = /^(\d{1,9})(?:\.(\d{1,9}))?(?:\.(\d{1,9}))?$/

/** `1.0` -> `1.0.0`, `01.2` -> `1.2.0`; undefined for what is no version (`1`, `1.2.3.4`, `v1.0`, `1.2-beta`). */
export function normaliseVersion(text: string): string | undefined {
  const match = registered.exec(text)
  return match ? `${Number(match[1])}.${Number(match[2])}.${Number(match[3] ?? 0)}` : undefined
}

/** Of a version that is one. */
export const normalised = (version: string): string => normaliseVersion(version) ?? version

/** `id/1.2.0`: how a version is named in the map. */
export const componentKey = (id: string, version: string): string => `${id}/${normalised(version)}`

const parts = (version: string): number[] => version.split('.').map(Number)

/** By number, part by part. Both normalised. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [parts(a), parts(b)]
  return left[0]! - right[0]! || left[1]! - right[1]! || (left[2] ?? 0) - (right[2] ?? 0)
}

export interface Versioned {
  /** Normalised. */
  readonly version: string
  /** As the package wrote it. */
  readonly exact?: string
}

/**
 * The one that a fragment means: the one written exactly so, else the highest that is equal on the given parts;
 * without a fragment the highest overall. Undefined when there is none, or the text is no fragment.
 */
export function resolveVersion<V extends Versioned>(
  fragment: string | undefined,
  versions: Iterable<V>,
): V | undefined {
  const all = [...versions]
  if (fragment === undefined) return highest(all)
  const exact = all.find(each => each.exact === fragment)
  if (exact) return exact
  const match = fragmentary.exec(fragment)
  if (!match) return undefined
  const given = match
    .slice(1)
    .filter(part => part !== undefined)
    .map(Number)
  return highest(all.filter(each => given.every((part, index) => parts(each.version)[index] === part)))
}

const highest = <V extends Versioned>(versions: readonly V[]): V | undefined =>
  versions.reduce<V | undefined>(
    (best, each) => (best && compareVersions(best.version, each.version) >= 0 ? best : each),
    undefined,
  )
