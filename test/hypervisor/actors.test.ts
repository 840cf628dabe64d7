/** From a secret to who asks. */
import { describe, expect, it } from 'vitest'
import { MemoryMap } from '../../src/cloud/map.js'
import { actorOf, digestOf } from '../../src/hypervisor/actors.js'

const nowMs = Date.UTC(2026, 0, 1)

function mapWith(secret: string, expires?: string): MemoryMap {
  const map = new MemoryMap()
  const id = digestOf(secret)
  const value = {
    schema: 1 as const,
    id,
    role: 'viewer' as const,
    subject: 'somebody',
    createdAt: '2025-01-01T00:00:00.000Z',
    ...(expires === undefined ? {} : { expires }),
  }
  map.apply([{ kind: 'tokens', id, value, created: 1, modified: 1 }], 1)
  return map
}

describe('a token', () => {
  it('says who asks while it is known and has not expired', () => {
    expect(actorOf(mapWith('s'), 's', nowMs)).toEqual({ role: 'viewer', subject: 'somebody' })
    expect(actorOf(mapWith('s'), 'other', nowMs)).toBeUndefined()
    expect(actorOf(mapWith('s', '2026-01-01T00:00:01Z'), 's', nowMs)).toBeDefined()
    expect(actorOf(mapWith('s', '2026-01-01T00:00:00Z'), 's', nowMs)).toBeUndefined()
  })

  it('has expired when the time that it names is none', () => {
    expect(actorOf(mapWith('s', '2099-13-41T00:00:00Z'), 's', nowMs)).toBeUndefined()
  })
})
