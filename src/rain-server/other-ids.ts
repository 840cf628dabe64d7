/** A fragment that a page shows a second time. */
import { randomBytes } from 'node:crypto'
import type { Fragment } from './fragment-cache.js'

/** Ids of views are texts by lot, so that they are found wherever they stand; others of the same length take their places. */
export function withOtherIds(fragment: Fragment): Fragment {
  let { html } = fragment
  const renamed = new Map(fragment.children.map(({ id }) => [id, newId(id)]))
  for (const [id, other] of renamed) if (other !== id) html = html.replaceAll(id, other)
  const children = fragment.children.map(each => ({ ...each, id: renamed.get(each.id)! }))
  const { guests } = fragment
  const moved = guests?.map(each => ({ ...each, host: renamed.get(each.host) ?? each.host }))
  return { ...fragment, html, children, ...(moved ? { guests: moved } : {}) }
}

/** One that a mothership has not made is left as it is. */
const newId = (id: string): string => (/^v[0-9a-f]{16}$/.test(id) ? `v${randomBytes(8).toString('hex')}` : id)
