/** What is read is what was written, however small memory keeps it. */
import fc from 'fast-check'
import { Compile } from 'typebox/compile'
import { describe, expect, it } from 'vitest'
import { type InstanceRecord, kinds } from '../../src/cloud/records.js'
import { readValue, writeValue } from '../../src/store/values.js'
import { anInstance } from '../support/records.js'

function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

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
const anew = (value: unknown): unknown => JSON.parse(JSON.stringify(value))

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

  it('is taken, and read, as JSON and its schema say, however it is written', () => {
    const schema = Compile(kinds.instances)
    const written = JSON.stringify({ ...anInstance('shop.1', ['m1', 'm2'], { owner: 'a' }), decidedIn: 7 })
    const some = [
      '"',
      '\\',
      '{',
      '}',
      ',',
      ':',
      '0',
      '-',
      ' ',
      'é',
      ',"epoch":1',
      ',"createdAt":"',
      '"id":"x.1",',
      '}}',
    ]
    const fields = ['"x":1', '"owner":"b"', '"decidedIn":8', '"epoch":2', '"component":"x"', '"__proto__":{}']
    const edit = fc.record({
      at: fc.nat(written.length),
      gone: fc.nat(3),
      come: fc.oneof(
        fc.constantFrom(...some),
        fc.constantFrom(...fields).map(each => `,${each}`),
        fc.constant(''),
      ),
    })
    let [taken, refused] = [0, 0]
    fc.assert(
      fc.property(fc.array(edit, { maxLength: 3 }), edits => {
        const text = edits.reduce((t, { at, gone, come }) => t.slice(0, at) + come + t.slice(at + gone), written)
        const value = parsed(text)
        const read = readValue('instances', Buffer.from(text))
        expect(read.kind, text).toBe(schema.Check(value) ? 'good' : 'unreadable')
        // Written anew, so that -0 is 0.
        if (read.kind === 'good') expect(anew(read.value), text).toEqual(anew(value))
        read.kind === 'good' ? taken++ : refused++
      }),
      { numRuns: 5_000 },
    )
    expect([taken > 100, refused > 100]).toEqual([true, true])
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
