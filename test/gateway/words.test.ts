import { describe, expect, it } from 'vitest'
import { type Word, Words } from '../../src/gateway/words.js'

const word = (instance: string, phase: Word['phase'] = 'running'): Word => ({
  instance,
  epoch: 1,
  generation: 0,
  phase,
})

describe('the last words on copies', () => {
  const started = (...wanted: string[]) => {
    const known = new Set(wanted)
    return { known, words: new Words(instance => known.has(instance)) }
  }

  it('are those on copies that are wanted, the latest on each', () => {
    const { known, words } = started('a', 'b')
    expect(words.hear([word('a', 'starting'), word('c')], false)).toEqual([word('a', 'starting')])
    expect(words.hear([word('a'), word('b')], false)).toEqual([word('a'), word('b')])
    expect(words.all()).toEqual([word('a'), word('b')])
    known.delete('a')
    expect(words.all()).toEqual([word('b')])
    known.add('c')
    expect(words.all()).toEqual([word('b')])
  })

  it('on copies that are only heard of later are not lost, nor told twice', () => {
    const { known, words } = started('a')
    expect(words.hear([word('a'), word('b', 'starting'), word('c')], true)).toEqual([word('a')])
    known.add('b').add('c')
    expect(words.hear([word('b')], true)).toEqual([word('b')])
    expect(words.caughtUp()).toEqual([word('c')])
    expect(words.caughtUp()).toEqual([])
    expect(words.all()).toEqual([word('a'), word('b'), word('c')])
  })

  it('take no more room than what is wanted, however many copies have come and gone', () => {
    const { known, words } = started()
    for (let n = 0; n < 20_000; n++) {
      known.add(`i${n}`).delete(`i${n - 100}`)
      words.hear([word(`i${n}`)], false)
      expect(words.size).toBeLessThanOrEqual(1_001)
    }
    expect(words.all()).toHaveLength(100)
  })

  it('take bounded room where a node speaks of what does not exist', () => {
    const { words } = started()
    for (let n = 0; n < 300; n++) {
      words.hear(
        Array.from({ length: 1_000 }, (_, i) => word(`${n}.${i}`)),
        true,
      )
    }
    expect(words.size).toBe(100_000)
    expect(words.caughtUp()).toEqual([])
    expect(words.size).toBe(0)
  })
})
