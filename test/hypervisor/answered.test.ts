import { describe, expect, it } from 'vitest'
import { AnsweredBook } from '../../src/hypervisor/answered.js'

const answered = (id: string) => ({
  fingerprint: `of ${id}`,
  answer: { outcome: 'created' as const, kind: 'instances' as const, ids: [id], order: { era: 1, revision: 1 } },
})

describe('the book of answers', () => {
  it('knows the newest ones, and holds no more than it may', () => {
    const book = new AnsweredBook(10)
    for (let i = 0; i < 1_000; i++) {
      book.set(`r${i}`, answered(`r${i}`))
      for (let back = 0; back < Math.min(i, 5); back++)
        expect(book.get(`r${i - back}`)?.fingerprint).toBe(`of r${i - back}`)
    }
    const known = Array.from({ length: 1_000 }, (_, i) => book.get(`r${i}`)).filter(Boolean)
    expect(known.length).toBeGreaterThanOrEqual(5)
    expect(known.length).toBeLessThanOrEqual(10)
  })
})
