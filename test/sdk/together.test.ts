import { describe, expect, it } from 'vitest'
import { Together } from '../../src/sdk/together.js'

describe('what comes right after one another', () => {
  const started = (most: number) => {
    const soon: (() => void)[] = []
    const passed: (readonly number[])[] = []
    const together = new Together<number>(
      run => soon.push(run),
      most,
      list => passed.push(list),
    )
    return { together, passed, settle: () => soon.splice(0).forEach(run => void run()) }
  }

  it('is passed on together, in order, once', () => {
    const { together, passed, settle } = started(10)
    for (const n of [1, 2, 3]) together.add(n)
    expect(passed).toEqual([])
    settle()
    expect(passed).toEqual([[1, 2, 3]])
    settle()
    together.add(4)
    settle()
    expect(passed).toEqual([[1, 2, 3], [4]])
  })

  it('does not wait when there is as much as may go together', () => {
    const { together, passed, settle } = started(2)
    for (const n of [1, 2, 3]) together.add(n)
    expect(passed).toEqual([[1, 2]])
    settle()
    expect(passed).toEqual([[1, 2], [3]])
  })
})
