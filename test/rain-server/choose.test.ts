import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { WantedComponent } from '../../src/protocol/messages.js'
import { order } from '../../src/rain-server/choose.js'
import { aVersion } from '../support/small-cloud.js'

const all = (): boolean => true
const sessions = Array.from({ length: 3_000 }, (_, n) => (n * 7919).toString(16).padStart(32, '0'))
const onMotherships = (count: number, id = 'news'): WantedComponent =>
  aVersion(
    id,
    Array.from({ length: count }, (_, n) => `m${n}`),
  )
const without = (component: WantedComponent, mothership: string): WantedComponent => ({
  ...component,
  copies: component.copies.filter(each => each.mothership !== mothership),
})
const firstOf = (component: WantedComponent, session: string): string => order(component, session, all)[0]!.mothership

describe('the order of copies', () => {
  it('is the same for a session wherever it is asked for, in whatever order the copies are told', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1, max: 8 }), fc.string(), fc.nat(), (count, session, turn) => {
        const component = onMotherships(count)
        const at = turn % count
        const told = structuredClone([...component.copies.slice(at), ...component.copies.slice(0, at)])
        expect(order({ ...component, copies: told }, session, all)).toEqual(order(component, session, all))
      }),
    )
  })

  it('changes for the sessions of a lost copy only, and goes back when it is there again', () => {
    const component = onMotherships(5)
    const left = without(component, 'm2')
    for (const session of sessions) {
      const before = order(component, session, all).map(each => each.mothership)
      expect(order(left, session, all).map(each => each.mothership)).toEqual(before.filter(each => each !== 'm2'))
    }
  })

  it('spreads sessions evenly, those of a lost copy as well, and each component by itself', () => {
    const component = onMotherships(4)
    const shares = (of: readonly string[]): number[] =>
      ['m0', 'm1', 'm2', 'm3'].map(each => of.filter(mothership => mothership === each).length)
    for (const share of shares(sessions.map(each => firstOf(component, each)))) {
      expect(share).toBeGreaterThan(650)
      expect(share).toBeLessThan(850)
    }
    const orphans = sessions.filter(each => firstOf(component, each) === 'm0')
    for (const share of shares(orphans.map(each => firstOf(without(component, 'm0'), each))).slice(1)) {
      expect(share).toBeGreaterThan(orphans.length / 3 - 60)
      expect(share).toBeLessThan(orphans.length / 3 + 60)
    }
    const other = onMotherships(4, 'ads')
    const same = sessions.filter(each => firstOf(component, each) === firstOf(other, each)).length
    expect(same).toBeGreaterThan(650)
    expect(same).toBeLessThan(850)
  })

  it('puts first what can be reached', () => {
    const component = onMotherships(3)
    for (const session of sessions.slice(0, 50)) {
      const [first] = order(component, session, all)
      const shown = order(component, session, mothership => mothership !== first!.mothership)
      expect(shown.at(-1)).toEqual(first)
      expect(shown).toHaveLength(3)
    }
  })
})
