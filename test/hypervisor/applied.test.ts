import { describe, expect, it } from 'vitest'
import type { NodeRef } from '../../src/cloud/ids.js'
import { AppliedBook } from '../../src/hypervisor/applied.js'

const r1: NodeRef = { kind: 'rainserver', id: 'r1' }
const at = (revision: number) => ({ era: 1, revision })

describe('what nodes have applied', () => {
  it('is the highest order of a session, whoever heard it, and tells nothing of another session', () => {
    const book = new AppliedBook()
    book.note(r1, 10, at(5))
    book.note(r1, 10, at(4))
    expect(book.latest(r1, 10)).toEqual(at(5))
    expect(book.latest(r1, 20)).toBeUndefined()
    book.noteRelayed([{ node: r1, session: 20, order: at(3) }])
    expect(book.latest(r1, 20)).toEqual(at(3))
    book.note(r1, 10, at(9))
    expect(book.latest(r1, 10)).toBeUndefined()
    expect(book.latest(r1, 20)).toEqual(at(3))
  })

  it('is relayed once, as far as it was heard here and was news', () => {
    const book = new AppliedBook()
    book.note(r1, 10, at(5))
    book.note(r1, 10, at(5))
    book.noteRelayed([{ node: { kind: 'rainserver', id: 'r2' }, session: 1, order: at(1) }])
    expect(book.takeOwn()).toEqual([{ node: r1, session: 10, order: at(5) }])
    expect(book.takeOwn()).toEqual([])
  })

  it('is told to who listens, until they leave', () => {
    const book = new AppliedBook()
    let told = 0
    const leave = book.onChange(() => told++)
    book.note(r1, 1, at(1))
    leave()
    book.note(r1, 1, at(2))
    expect(told).toBe(1)
  })
})
