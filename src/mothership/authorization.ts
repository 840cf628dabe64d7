/**
 * Who may see a view, in RAIN's order: every permission of component and view, then the package's own conditions of
 * `server/authorization.js`: `_component`, and the function named as the view. They get `{user}` and answer at once; who
 * is nobody passes only where nothing at all is asked.
 */
import type { Viewer } from '../protocol/messages.js'
import { functionOf, type Loaded } from './modules.js'

type Condition = (context: { readonly user: object }) => unknown

/** `refused`: the viewer may not; `broken`: the condition itself is wrong, and nobody is let in. */
export type Passage = { readonly kind: 'free' } | { readonly kind: 'refused' | 'broken'; readonly reason: string }

const free: Passage = { kind: 'free' }

export function passage(permissions: readonly string[], conditions: Loaded, view?: string, user?: Viewer): Passage {
  const held = new Set(user?.permissions ?? [])
  const missing = permissions.find(each => !held.has(each))
  if (missing !== undefined) return { kind: 'refused', reason: `needs the permission ${missing}` }
  for (const name of view === undefined ? ['_component'] : ['_component', view]) {
    const condition = functionOf(conditions, name) as Condition | undefined
    if (!condition) continue
    if (!user) return { kind: 'refused', reason: `server/authorization.js asks who it is (${name})` }
    const answer = ask(condition, name, user)
    if (answer.kind !== 'free') return answer
  }
  return free
}

function ask(condition: Condition, name: string, user: Viewer): Passage {
  let answer: unknown
  try {
    answer = condition({ user: asPerson(user) })
  } catch (error) {
    return { kind: 'broken', reason: `server/authorization.js, ${name}: ${String(error).slice(0, 500)}` }
  }
  // A promise is true, whatever comes of it: it would let everybody in.
  if (typeof (answer as PromiseLike<unknown> | undefined)?.then === 'function') {
    return { kind: 'broken', reason: `server/authorization.js, ${name}: has to answer at once, not by a promise` }
  }
  return answer ? free : { kind: 'refused', reason: `server/authorization.js, ${name}: refused` }
}

/** As RAIN's components know it. */
export const asPerson = ({ id, permissions }: Viewer): object => ({
  id,
  username: id,
  permissions: [...permissions],
  hasPermissions: (asked: readonly string[]) => asked.every(each => permissions.includes(each)),
  isAuthenticated: () => true,
})
