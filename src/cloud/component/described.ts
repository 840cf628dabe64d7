/** What a descriptor describes, whatever form it is written in. */
import type { Descriptor } from './descriptor.js'

type ListedView = Extract<NonNullable<Descriptor['views']>, readonly unknown[]>[number]
type View = Omit<ListedView, 'viewid' | 'viewId'>

export interface DescribedView {
  readonly id: string
  readonly view?: string
  readonly client?: string
  readonly server?: string
  readonly permissions?: readonly string[]
  readonly cache?: { readonly maxAge: string; readonly stale?: string; readonly query?: readonly string[] }
  readonly deadline?: string
  readonly fallback?: string
  readonly required?: boolean
}

/** The views, whatever form they are written in. */
export function viewsOf({ views }: Pick<Descriptor, 'views'>): DescribedView[] {
  const entries = Array.isArray(views)
    ? views.map((each, index): [string, View] => [each.viewid ?? each.viewId ?? String(index), each])
    : Object.entries(views ?? {})
  return entries.map(([id, { view, controller, permissions, cache, deadline, fallback, required }]) => ({
    id,
    ...(view === undefined ? {} : { view }),
    ...(permissions === undefined ? {} : { permissions }),
    ...(cache === undefined ? {} : { cache }),
    ...(deadline === undefined ? {} : { deadline }),
    ...(fallback === undefined ? {} : { fallback }),
    ...(required === undefined ? {} : { required }),
    ...(typeof controller === 'object' ? controller : {}),
  }))
}
