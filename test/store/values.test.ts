/** What is read is what was written, however small memory keeps it. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { InstanceRecord } from '../../src/cloud/records.js'
import { readValue, writeValue } from '../../src/store/values.js'
import { anInstance } from '../support/records.js'

const bytesOf = (value: unknown): Uint8Array => Buffer.from(JSON.stringify(value))
const good = (value: unknown): InstanceRecord => {
  const read = readValue('instances', bytesOf(value))
  if (read.kind !== 'good') throw new Error(read.reason)
  return read.value
}

const anyText = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom('free', 'enough-room', 'a b') },
  fc.string(),
  fc.constantFrom('"', '\\', '},', 'é', ',"decision":{'),
)
describe('an instance that was read', () => {
  it('is what was written, whatever it holds', () => {
    const more = fc.record(
      {
        owner: anyText,
        decidedIn: fc.nat(),
        later: fc.json(),
        placement: fc.constantFrom({}, { copies: 2, zones: ['a'] }),
      },
      { requiredKeys: [] },
    )
    fc.assert(
      fc.property(more, fc.array(fc.constantFrom('m1', 'm2', 'm3'), { minLength: 1 }), (more, on) => {
        const value = JSON.parse(JSON.stringify({ ...anInstance('shop.1', on), ...more }))
        const read = good(value)
        expect(read).toEqual(value)
        expect(JSON.parse(JSON.stringify(read))).toEqual(value)
        expect({ ...read, epoch: 2 }).toEqual({ ...value, epoch: 2 })
        expect(good(JSON.parse(Buffer.from(writeValue('instances', read)).toString()))).toEqual(value)
      }),
    )
  })

  it('shares what others have too', () => {
    const [one, other] = ['shop.1', 'shop.2'].map(id => good(anInstance(id, ['m1'], { decidedIn: 7 })))
    expect(one!.need).toBe(other!.need)
    expect(one!.inSync).toBe(other!.inSync)
    expect(() => one!.inSync.push('m2')).toThrow(TypeError)
  })

  it('is refused for a wrong field', () => {
    const value = { ...anInstance('shop.1', ['m1']), decidedIn: 7 }
    for (const wrong of [
      { epoch: 0 },
      { id: 'shop' },
      { inSync: 'm1' },
      { need: {} },
      { createdAt: 'now' },
      { decidedIn: -1 },
    ]) {
      const order = { ...value, ...wrong }
      expect(readValue('instances', bytesOf(order)), JSON.stringify(wrong)).toMatchObject({ kind: 'unreadable' })
    }
    const text = JSON.stringify(value)
    for (const cut of [text.slice(0, -1), `${text}}`, `${text.slice(0, -1)},`, text.replace('{', '')]) {
      expect(readValue('instances', Buffer.from(cut)).kind, cut).toBe('unreadable')
    }
  })
})
