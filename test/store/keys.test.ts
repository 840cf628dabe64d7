/** Where things are in etcd, and what may be written there. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { defaultSettings, type Kind, kinds } from '../../src/cloud/records.js'
import { Keys } from '../../src/store/keys.js'
import { parseJson, readValue, writeValue } from '../../src/store/values.js'
import { aMothership } from '../support/records.js'

const keys = new Keys('test')
const singletons = ['era', 'leader', 'turn', 'keys', 'settings']
const word = fc.stringMatching(/^[\w:-][\w:.-]{0,8}$/).filter(each => !each.includes('..'))

describe('the keys of records', () => {
  it('lead back to kind and id, within the one range that is watched', () => {
    const kind = fc.constantFrom(...(Object.keys(kinds) as Kind[]))
    fc.assert(
      fc.property(kind, fc.array(word, { minLength: 1, maxLength: 2 }), (kind, words) => {
        const id = singletons.includes(kind) ? '' : words.join('/')
        const key = keys.record(kind, id)
        expect(keys.parse(key)).toEqual({ kind, id })
        expect(key >= keys.map && key < keys.mapEnd).toBe(true)
      }),
    )
  })

  it('are made of no id that could leave its place', () => {
    for (const id of ['', '/', 'a/', '/a', 'a//b', '../leader', 'a/../../turn', 'a b', 'a\0', 'é']) {
      expect(() => keys.record('motherships', id), id).toThrow(RangeError)
    }
  })

  it('mean nothing where this release knows no such kind', () => {
    for (const rest of ['gadgets/a', 'leader/a', 'motherships', 'toString/a', '__proto__/a', '']) {
      expect(keys.parse(keys.map + rest), rest).toBeUndefined()
    }
    expect(keys.parse('/rain/other/v1/map/motherships/a')).toBeUndefined()
  })

  it('of requests hold whatever a caller may send, and those of the audit are in the order of turns', () => {
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary', maxLength: 20 }),
        fc.string({ unit: 'binary', maxLength: 20 }),
        (a, b) => {
          expect(keys.request(a)).toMatch(/\/request\/[0-9a-f]*$/)
          expect(keys.request(a) === keys.request(b)).toBe(a === b)
        },
      ),
    )
    fc.assert(
      fc.property(fc.nat(), fc.nat(), (a, b) => {
        expect(keys.audit(a) < keys.audit(b)).toBe(a < b)
      }),
    )
  })
})

describe('the values of records', () => {
  it('keep fields that only newer replicas know', () => {
    const value = { ...aMothership('m1'), shiny: true }
    expect(readValue('motherships', writeValue('motherships', value))).toEqual({ kind: 'good', value })
  })

  it('are refused, whether they come or go, when they do not match their schema', () => {
    const wrong = { ...defaultSettings, lostAfterMs: -1 }
    expect(() => writeValue('settings', wrong)).toThrow(/lostAfterMs/)
    expect(readValue('settings', Buffer.from(JSON.stringify(wrong)))).toMatchObject({
      kind: 'unreadable',
      reason: expect.stringContaining('lostAfterMs'),
    })
    for (const text of ['', '{', 'null', '[]', '"x"']) {
      expect(readValue('motherships', Buffer.from(text)).kind, text).toBe('unreadable')
    }
    expect(parseJson(Buffer.from('{'))).toBeUndefined()
  })
})
