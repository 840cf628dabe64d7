/** Pages of kept state: what a visitor was shown is never followed by something older, whichever copy it would come from. */
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest'
import type { WantedTerms } from '../../src/protocol/messages.js'
import { shown } from '../support/fake-mothership.js'
import { aVersion, bare, SmallCloud } from '../support/small-cloud.js'

let cloud: SmallCloud
/** How far each copy is. */
const at = { m1: 0, m2: 0 }
let generation = 0

beforeAll(async () => {
  cloud = await SmallCloud.start()
})
afterAll(() => cloud.stop())
beforeEach(async () => {
  cloud.forget()
  generation++
})

const state = (seq: number) => ({ since: 7, epoch: 3, seq })

async function want(terms: WantedTerms = {}): Promise<void> {
  const copies = ['m1', 'm2'].map(mothership => ({ instance: `shop.${generation}`, mothership, epoch: 3 }))
  const more = { views: ['index', 'other'], terms: { index: terms } }
  await cloud.want({ server: { generation }, components: [aVersion('shop', [], { copies, ...more })] })
  for (const id of ['m1', 'm2'] as const) {
    for (const view of more.views) {
      // As a copy of before it was told what had been shown: it answers what it has.
      cloud[id].views.set(`shop.${generation}/${view}`, () => shown(`at ${at[id]}`, [], { state: state(at[id]) }))
    }
    cloud[id].onCall = () => ({ headers: {}, state: state(at[id]) })
  }
}

const cookieOf = (session: string): string => `rain-sid=${session}`
const page = async (session: string, path = '/shop'): Promise<string> =>
  bare(await cloud.ask(path, { headers: { accept: 'text/html', cookie: cookieOf(session) } }))
const asked = () => [...cloud.m1.asked, ...cloud.m2.asked]

it('is asked of another copy where the first one is behind what was shown', async () => {
  await want()
  const session = 'a'.repeat(32)
  Object.assign(at, { m1: 5, m2: 5 })
  expect(await page(session)).toBe('[at 5]')
  // Whichever is asked first: the other one is the newer.
  for (const [m1, m2] of [
    [4, 6],
    [7, 5],
  ] as const) {
    Object.assign(at, { m1, m2 })
    expect(await page(session)).toBe(`[at ${Math.max(m1, m2)}]`)
  }
  expect(asked().map(each => each.shown)).toContainEqual(state(6))
})

it('is no page rather than an older one, and another visitor may well be shown that', async () => {
  await want()
  Object.assign(at, { m1: 5, m2: 5 })
  await page('b'.repeat(32))
  Object.assign(at, { m1: 4, m2: 4 })
  expect(await page('b'.repeat(32))).toContain('data-rain-status="503"')
  expect(await page('c'.repeat(32))).toBe('[at 4]')
})

it('has what a controller has answered of before', async () => {
  await want()
  const session = 'd'.repeat(32)
  Object.assign(at, { m1: 9, m2: 9 })
  await cloud.ask('/shop/1.0/controller/add', { method: 'POST', headers: { cookie: cookieOf(session) } })
  await page(session)
  expect(asked().map(each => each.shown)).toEqual([state(9)])
  await cloud.ask('/shop/1.0/controller/add', { method: 'POST', headers: { cookie: cookieOf(session) } })
  expect([...cloud.m1.calls, ...cloud.m2.calls].at(-1)?.shown).toEqual(state(9))
})

it('that may be kept is never replaced by an older one', async () => {
  await want({ maxAgeMs: 1, staleMs: 60_000 })
  Object.assign(at, { m1: 5, m2: 5 })
  await page('e'.repeat(32))
  Object.assign(at, { m1: 4, m2: 4 })
  // What is kept stands in for what no copy has.
  expect(await page('f'.repeat(32))).toBe('[at 5]')
  Object.assign(at, { m1: 6, m2: 4 })
  expect(await page('f'.repeat(32))).toBe('[at 6]')
})
