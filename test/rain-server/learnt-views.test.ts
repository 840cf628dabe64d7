import { describe, expect, it } from 'vitest'
import type { Fallbacks } from '../../src/rain-server/fallbacks.js'
import type { Fragments, Got } from '../../src/rain-server/fragments.js'
import { LearntViews } from '../../src/rain-server/learnt-views.js'
import { openPage } from '../../src/rain-server/page.js'
import { Waiting } from '../../src/rain-server/race.js'
import { Shown } from '../../src/rain-server/shown.js'
import type { ServerState } from '../../src/rain-server/wanted.js'
import { ManualClock } from '../support/manual-clock.js'
import { aVersion } from '../support/small-cloud.js'

const [none, sheet] = [
  { css: [], js: [] },
  { css: ['a.css'], js: [] },
]

describe('what is known of views', () => {
  it('is what they needed the last time, and about how long they took of late', () => {
    const learnt = new LearntViews()
    expect(learnt.expected('news/1/index')).toEqual(none)
    expect(learnt.usualMs('news/1/index')).toBe(0)
    learnt.learn('news/1/index', sheet, 100)
    expect(learnt.expected('news/1/index')).toEqual(sheet)
    expect(learnt.usualMs('news/1/index')).toBe(100)
    learnt.learn('news/1/index', none, 50)
    expect(learnt.expected('news/1/index')).toEqual(none)
    expect(learnt.usualMs('news/1/index')).toBeCloseTo(90)
    for (let i = 0; i < 30; i++) learnt.learn('news/1/index', sheet, 10)
    expect(learnt.usualMs('news/1/index')).toBeLessThan(11)
    learnt.learn('news/1/index', sheet, undefined)
    expect(learnt.usualMs('news/1/index')).toBeLessThan(11)
    learnt.clear()
    expect(learnt.expected('news/1/index')).toEqual(none)
  })

  it('tells a page before when it will hardly be whole', async () => {
    const clock = new ManualClock()
    const learnt = new LearntViews()
    const log = { info: () => undefined, warn: () => undefined, error: () => undefined }
    const [shop, item] = [aVersion('shop', ['m1']), aVersion('item', ['m1'])]
    const state = {
      server: { fragmentDeadlineMs: 1_000, pageDeadlineMs: 3_000, errorComponent: null },
      components: new Map([
        ['shop', [shop]],
        ['item', [item]],
      ]),
    } as unknown as ServerState
    const fragment = { t: 'fragment', r: 1, instance: 'i', mothership: 'm1', html: '', ...none, context: {} } as const
    /** The item takes so long, and the page's own component no time. */
    const open = (itemMs: number) => {
      const fetch = ({ component }: { component: { id: string } }): Promise<Got> =>
        new Promise(resolve => {
          const children =
            component.id === 'shop' ? [{ id: 'v', component: 'item', view: 'index', context: {}, at: 0 }] : []
          const done = (): void =>
            resolve({ kind: 'fragment', fragment: { ...fragment, children }, source: 'copy', leftMs: 0 })
          if (component.id === 'shop') done()
          else clock.after(itemMs, done)
        })
      const ports = {
        fragments: { fetch } as unknown as Fragments,
        fallbacks: { of: () => undefined } as unknown as Fallbacks,
        learnt,
        shown: new Shown(),
        clock,
        onFragment: () => undefined,
        log,
      }
      const asked = { component: shop, view: 'index', visit: {}, held: {} } as never
      return openPage(state, asked, ports, new Waiting())
    }
    const first = await open(80)
    const fromMs = clock.nowMs()
    expect(first.isWhole()).toBe(false)
    expect(first.dueMs() - fromMs).toBe(0)
    await clock.during(first.whole)

    const second = await open(80)
    expect(second.dueMs() - clock.nowMs()).toBeGreaterThanOrEqual(80)
    expect(second.dueMs() - clock.nowMs()).toBeLessThan(100)
  })
})
