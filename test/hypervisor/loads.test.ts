import { describe, expect, it } from 'vitest'
import type { NodeRef } from '../../src/cloud/ids.js'
import { LoadBook, type LoadReport } from '../../src/hypervisor/loads.js'
import { FakeClock } from '../support/fake-clock.js'

const m1: NodeRef = { kind: 'mothership', id: 'm1' }
const statistics = { calls: 1, errors: 0, timeouts: 0, restarts: 0, cpu: 1, ram: 1, bandwidth: 1, latency: [1] }
const report = (cpu: number, more: Partial<LoadReport> = {}): LoadReport => ({
  node: m1,
  cpu,
  ram: 2,
  bandwidth: 3,
  components: {},
  ...more,
})

function aBook(): { book: LoadBook; clock: FakeClock } {
  const clock = new FakeClock()
  return { book: new LoadBook(clock), clock }
}

describe('the book of loads', () => {
  it('knows the latest of each node, dated by its own clock', () => {
    const { book, clock } = aBook()
    book.note(report(1))
    clock.advance(500)
    const atMs = clock.nowMs()
    book.note(report(7))
    clock.advance(500)
    expect(book.latest(m1)).toEqual({
      ...{ cpu: 7, ram: 2, bandwidth: 3, atMs, source: 'report' },
      filtered: { cpu: 7, ram: 2, bandwidth: 3 },
    })
    expect(book.latest({ kind: 'rainserver', id: 'm1' })).toBeUndefined()
  })

  it('takes what others relay by its age, and only when it is newer', () => {
    const { book, clock } = aBook()
    book.note(report(1))
    clock.advance(1_000)
    book.noteRelayed(report(2), 1_500)
    expect(book.latest(m1)!.cpu).toBe(1)
    book.noteRelayed(report(3), 400)
    expect(book.latest(m1)).toMatchObject({ cpu: 3, atMs: clock.nowMs() - 400 })
    book.noteRelayed(report(4), 900)
    expect(book.latest(m1)!.cpu).toBe(3)
  })

  it('forgets after a minute', () => {
    const { book, clock } = aBook()
    book.note(report(1, { components: { 'news/1.0.0': statistics } }))
    clock.advance(60_000)
    expect(book.latest(m1)).toBeDefined()
    clock.advance(1)
    expect(book.statistics('news/1.0.0').size).toBe(0)
    expect(book.latest(m1)).toBeUndefined()
  })

  it('gathers the calls of one component version over all motherships', () => {
    const { book } = aBook()
    const m2: NodeRef = { kind: 'mothership', id: 'm2' }
    book.note(report(1, { components: { 'news/1.0.0': statistics, 'shop/2.0.0': statistics } }))
    book.noteRelayed(report(1, { node: m2, components: { 'news/1.0.0': { ...statistics, calls: 5 } } }), 10)
    expect([...book.statistics('news/1.0.0')]).toEqual([
      ['m1', statistics],
      ['m2', { ...statistics, calls: 5 }],
    ])
    expect([...book.statistics('shop/2.0.0').keys()]).toEqual(['m1'])
    expect(book.statistics('chat/1.0.0').size).toBe(0)
  })

  it('gives its peers what it heard itself since then, and how old that is', () => {
    const { book, clock } = aBook()
    const since = clock.nowMs()
    clock.advance(100)
    book.note(report(1))
    book.noteRelayed(report(9, { node: { kind: 'mothership', id: 'm2' } }), 0)
    clock.advance(300)
    expect(book.ownSince(since)).toMatchObject([{ node: m1, cpu: 1, ageMs: 300 }])
    expect(book.ownSince(clock.nowMs())).toEqual([])
  })

  it('does not relay a node that reports to another replica by now', () => {
    const { book, clock } = aBook()
    const since = clock.nowMs() - 1
    book.note(report(1))
    clock.advance(100)
    book.noteRelayed(report(2), 50)
    expect(book.ownSince(since)).toEqual([])
  })

  it('takes the word of Prometheus while it is not stale, and the report after that', () => {
    const { book, clock } = aBook()
    book.note(report(1))
    book.noteTold(m1, { cpu: 50, ram: 60, bandwidth: 70 }, 2_000)
    expect(book.latest(m1)).toMatchObject({ cpu: 50, source: 'prometheus', atMs: clock.nowMs() - 2_000 })
    clock.advance(13_001)
    expect(book.latest(m1)).toMatchObject({ cpu: 1, source: 'report' })
    book.noteTold(m1, { cpu: 90, ram: 60, bandwidth: 70 }, 14_000)
    expect(book.latest(m1)).toMatchObject({ cpu: 90, source: 'prometheus' })
  })

  it('forgets what Prometheus told by expressions that are not asked any more, and how it was smoothed', () => {
    const { book } = aBook()
    book.note(report(1))
    book.noteTold(m1, { cpu: 9_000, ram: 60, bandwidth: 70 }, 1_000)
    book.forgetTold()
    expect(book.latest(m1)).toMatchObject({ cpu: 1, source: 'report' })
    book.noteTold(m1, { cpu: 9, ram: 60, bandwidth: 70 }, 0)
    expect(book.latest(m1)).toMatchObject({ source: 'prometheus', filtered: { cpu: 9 } })
  })

  it('shows what was measured, and beside it what placement takes, which falls slowly', () => {
    const { book, clock } = aBook()
    book.note(report(800))
    clock.advance(15_000)
    book.note(report(0))
    expect(book.latest(m1)).toMatchObject({ cpu: 0, filtered: { cpu: 400 } })
  })

  it('learns what one copy uses, from whatever mothership, while it knows how many there are', () => {
    const clock = new FakeClock()
    const copies: Readonly<Record<string, number>> = { m1: 4, m2: 1 }
    const book = new LoadBook(clock, undefined, undefined, (_, mothership) => copies[mothership] ?? 0)
    const note = (id: string, cpu: number): void =>
      book.note(report(1, { node: { kind: 'mothership', id }, components: { 'news/1.0.0': { ...statistics, cpu } } }))
    note('m1', 40)
    note('m2', 20)
    note('m3', 900)
    clock.advance(3_600_000)
    const used = new Float64Array(3)
    book.history.readHour('news/1.0.0', Math.floor(clock.nowMs() / 3_600_000) - 1, used, 0)
    expect([...used]).toEqual([15, (1 / 4 + 1) / 2, (1 / 4 + 1) / 2])
  })
})
