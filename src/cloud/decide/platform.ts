/** Settings and tokens. */
import type { BodyOf } from '../commands.js'
import type { CloudMap } from '../map.js'
import { put, remove } from '../records.js'
import { contradictionsIn, merged } from '../settings.js'
import { type Context, change, done, refuse, settingsOf, staleRevision, unknown, type Verdict } from './verdict.js'

export function putSettings(map: CloudMap, body: BodyOf<'put-settings'>): Verdict {
  const stale = staleRevision(map.get('settings')?.modified ?? 0, body.ifRevision)
  if (stale) return stale
  const before = settingsOf(map)
  const value = merged(before, body.change)
  const errors = contradictionsIn(value)
  const [wrong] = errors
  if (wrong) return refuse('bad-request', `${wrong.path} ${wrong.message}`, { errors })
  return change({ outcome: 'changed', kind: 'settings', ids: [''] }, put('settings', '', value))
}

export function createToken(map: CloudMap, body: BodyOf<'create-token'>, context: Context): Verdict {
  const answer = { kind: 'tokens' as const, ids: [body.digest] }
  if (map.get('tokens', body.digest)) return done({ outcome: 'unchanged', ...answer })
  if ((body.role === 'node') !== (body.node !== undefined)) {
    return refuse('bad-request', 'a node credential names its node, and no other token does', {
      errors: [{ path: '/node', message: 'needed with role node, and only then' }],
    })
  }
  if (body.expires !== undefined && Number.isNaN(Date.parse(body.expires))) {
    const errors = [{ path: '/expires', message: 'no such day or time' }]
    return refuse('bad-request', `${body.expires} is no time`, { errors })
  }
  const { digest, ...rest } = body
  const value = { schema: 1, id: digest, createdAt: context.at, ...rest }
  return change({ outcome: 'created', ...answer }, put('tokens', digest, value))
}

export function revokeToken(map: CloudMap, body: BodyOf<'revoke-token'>): Verdict {
  if (!map.get('tokens', body.id)) return unknown('token', body.id)
  const admins = [...map.all('tokens')].filter(([id, entry]) => entry.value.role === 'admin' && id !== body.id)
  if (admins.length === 0) return refuse('conflict', 'this is the last admin token: make another one first')
  return change({ outcome: 'removed', kind: 'tokens', ids: [body.id] }, remove('tokens', body.id))
}
