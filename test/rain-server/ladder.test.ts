/** What stands in the place of a fragment that fails, step by step. */
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import type { WantedTerms } from '../../src/protocol/messages.js'
import { waitUntil } from '../support/etcd.js'
import { shown, type View } from '../support/fake-mothership.js'
import { aVersion, bare, SmallCloud } from '../support/small-cloud.js'

let cloud: SmallCloud

beforeAll(async () => {
  cloud = await SmallCloud.start()
})
afterAll(() => cloud.stop())
beforeEach(() => {
  cloud.forget()
  generation++
})
/** Each test begins with empty caches. */
let generation = 0

const down: View = () => ({ status: 503, reason: 'not now' })
const counted = async (): Promise<string[]> => {
  const text = await cloud.server.registry.metrics()
  return [...text.matchAll(/^rain_server_degraded_total\{(.*)\} (\d+)$/gm)].map(each => `${each[1]} ${each[2]}`)
}
const countOf = async (labels: string): Promise<number> =>
  Number(
    (await counted())
      .find(each => each.startsWith(labels))
      ?.split(' ')
      .at(-1) ?? 0,
  )

async function want(terms: WantedTerms, more: { deadlineMs?: number; errorComponent?: string } = {}): Promise<void> {
  await cloud.want({
    server: {
      generation,
      fragmentDeadlineMs: more.deadlineMs ?? 5_000,
      errorComponent: more.errorComponent ?? null,
    },
    components: [
      aVersion('shop', ['m1']),
      aVersion('item', ['m1', 'm2'], { terms: { index: terms } }),
      aVersion('oops', ['m1'], { views: ['default'] }),
    ],
  })
  cloud.m1.views.set('shop.m1/index', () => shown('§', [{ component: 'item' }]))
  cloud.m1.views.set('oops.m1/default', () => shown('oops'))
}
const item = (view: View): void => {
  cloud.m1.views.set('item.m1/index', view)
  cloud.m2.views.set('item.m2/index', view)
}
const asked = (): number => cloud.m1.askedFor('item.m1').length + cloud.m2.askedFor('item.m2').length
const page = async (): Promise<string> => bare(await cloud.ask('/shop'))

describe('in the place of a fragment that fails', () => {
  it('another copy stands, and which reason it had is counted', async () => {
    await want({})
    const before = await countOf('component="item",step="other-copy",reason="unreachable"')
    let first = true
    item(() => {
      if (!first) return shown('there')
      first = false
      return { status: 503, reason: 'not now' }
    })
    expect(await page()).toBe('[[there]]')
    expect(await countOf('component="item",step="other-copy",reason="unreachable"')).toBe(before + 1)
  })

  it('another copy stands that is asked when half of the time is over, and the silent one is told so', async () => {
    await want({ deadlineMs: 1_000 })
    let silent: number | undefined
    item(({ r }) => {
      if (silent !== undefined) return shown('there')
      silent = r
      return undefined
    })
    expect(await page()).toBe('[[there]]')
    await waitUntil('it is cancelled', () => [...cloud.m1.cancelled, ...cloud.m2.cancelled].includes(silent!))
    expect(await countOf('component="item",step="other-copy",reason="timeout"')).toBeGreaterThan(0)
  })

  it('stands what was shown last, for as long as its view allows', async () => {
    await want({ maxAgeMs: 0, staleMs: 60_000 })
    item(() => shown('old'))
    expect(await page()).toBe('[[old]]')
    item(down)
    expect(await page()).toBe('[[old]]')
    expect(await countOf('component="item",step="stale",reason="unreachable"')).toBe(1)
    item(() => shown('new'))
    expect(await page()).toBe('[[new]]')
  })

  it('never stands what was shown last where the component itself refuses', async () => {
    await want({ maxAgeMs: 0, staleMs: 60_000 })
    item(() => shown('secret'))
    await page()
    item(() => ({ status: 401, reason: 'log in' }))
    expect(await page()).toBe(
      '[<!-- data-rain-component="item" data-rain-status="401" data-rain-view="index" log in -->]',
    )
  })

  it("stands the package's own fallback, fetched while somebody had it", async () => {
    const answers: string[] = []
    for (const mothership of [cloud.m1, cloud.m2]) {
      mothership.onCall = ({ kind, path }) => {
        answers.push(`${kind} ${path}`)
        return { headers: {}, body: '<i>closed</i>' }
      }
    }
    await want({ fallback: true })
    await waitUntil('it is fetched', () => answers.length > 0)
    expect(answers).toEqual(['fallback index'])
    item(down)
    await waitUntil('it is there', async () => (await page()) === '[[<i>closed</i>]]')
    expect(await countOf('component="item",step="fallback",reason="unreachable"')).toBeGreaterThan(0)
    // Whoever may not see it is not shown something else.
    item(() => ({ status: 401, reason: 'log in' }))
    expect(await page()).toBe(
      '[<!-- data-rain-component="item" data-rain-status="401" data-rain-view="index" log in -->]',
    )
  })

  it('stands the error view, and where there is none nothing but a comment, which nothing can end', async () => {
    await want({}, { errorComponent: 'oops' })
    item(() => ({ status: 500, reason: 'no database' }))
    expect(await page()).toContain('oops')
    expect(await countOf('component="item",step="error",reason="failed"')).toBe(1)
    await want({})
    item(() => ({ status: 404, reason: '--><script>alert(1)</script>-' }))
    expect(await page()).toBe(
      '[<!-- data-rain-component="item" data-rain-status="404" data-rain-view="index" –›‹script›alert(1)‹/script›– -->]',
    )
    expect(await countOf('component="item",step="empty",reason="missing"')).toBe(1)
  })
})

describe('a required child', () => {
  it.each([
    ['by its descriptor', { required: true }, {}],
    ['by the template', {}, { required: true }],
  ])('%s decides the status of the page', async (_name, terms, child) => {
    await want(terms)
    cloud.m1.views.set('shop.m1/index', () => shown('§', [{ component: 'item', ...child }]))
    item(() => shown('there'))
    const good = await cloud.ask('/shop')
    expect([good.status, bare(good)]).toEqual([200, '[[there]]'])
    item(() => ({ status: 500, reason: 'no database' }))
    expect((await cloud.ask('/shop')).status).toBe(500)
  })

  it('takes down what it stands in, and no more', async () => {
    await want({ required: true })
    cloud.m1.views.set('shop.m1/index', () => shown('a§b', [{ component: 'oops', view: 'default' }]))
    cloud.m1.views.set('oops.m1/default', () => shown('§', [{ component: 'item' }]))
    item(down)
    const reply = await cloud.ask('/shop')
    expect([reply.status, bare(reply)]).toEqual([
      200,
      '[a<!-- data-rain-component="oops" data-rain-status="503" data-rain-view="default" not now -->b]',
    ])
  })

  it('is content with what stands in for it', async () => {
    await want({ required: true, maxAgeMs: 0, staleMs: 60_000 })
    item(() => shown('old'))
    await page()
    item(down)
    expect((await cloud.ask('/shop')).status).toBe(200)
  })
})

describe('a view that fails again and again', () => {
  it.each([
    ['of its view', { deadlineMs: 150 }, {}],
    ['of the platform', {}, { deadlineMs: 150 }],
  ])(
    'within the deadline %s is not asked for a while, is tried beside pages, and comes back',
    async (_name, terms, more) => {
      await want(terms, more)
      item(() => undefined)
      const passedOver =
        '[<!-- data-rain-component="item" data-rain-status="503" data-rain-view="index" item has failed again and again -->]'
      await waitUntil('both copies are passed over', async () => (await page()) === passedOver, 20_000)
      expect(await cloud.server.registry.metrics()).toMatch(/^rain_server_breakers_open 2$/m)
      const before = asked()
      await waitUntil('one is tried', async () => (await page()) === passedOver && asked() > before)
      item(() => shown('back'))
      await waitUntil('it is back', async () => (await page()) === '[[back]]', 20_000)
    },
  )

  it('is asked by the very next page when its mothership is linked anew', async () => {
    await want({ deadlineMs: 150 })
    item(() => undefined)
    await waitUntil(
      'both copies are passed over',
      async () => (await page()).includes('failed again and again'),
      20_000,
    )
    item(() => shown('back'))
    const links = (): number => cloud.log.said.filter(each => each === 'linked').length
    const before = links()
    cloud.m1.cut()
    cloud.m2.cut()
    await waitUntil('both are linked', () => links() === before + 2)
    expect(await page()).toBe('[[back]]')
  })

  it('by the words of the component itself is asked on, for others may be told otherwise', async () => {
    await want({})
    item(() => ({ status: 500, reason: 'that input' }))
    for (let i = 0; i < 8; i++) await page()
    expect(asked()).toBe(8)
    item(() => shown('fine'))
    expect(await page()).toBe('[[fine]]')
  })
})

describe('a fragment that may be shown again', () => {
  it('is asked once for all who ask at once, and not again while it is fresh', async () => {
    await want({ maxAgeMs: 60_000 })
    let release!: () => void
    const released = new Promise<void>(resolve => (release = resolve))
    item(() => released.then(() => shown('same')))
    const pages = Array.from({ length: 10 }, () => page())
    await waitUntil('it is asked', () => asked() > 0)
    release()
    expect(await Promise.all(pages)).toEqual(Array(10).fill('[[same]]'))
    expect(await page()).toBe('[[same]]')
    expect(asked()).toBe(1)
  })

  it('is another one for another query, language or context, and is flushed with a reset of the wiring', async () => {
    await want({ maxAgeMs: 60_000 })
    item(({ request, locale }) => shown(`${request?.query['page']} ${locale}`))
    const of = async (path: string, language: string): Promise<string> =>
      bare(await cloud.ask(path, { headers: { accept: 'text/html', 'accept-language': language } }))
    expect(await of('/shop?page=1', 'de')).toBe('[[1 de]]')
    expect(await of('/shop?page=2', 'de')).toBe('[[2 de]]')
    expect(await of('/shop?page=1', 'fr')).toBe('[[1 fr]]')
    expect(await of('/shop?page=1', 'de')).toBe('[[1 de]]')
    expect(asked()).toBe(3)
    generation++
    await want({ maxAgeMs: 60_000 })
    expect(await of('/shop?page=1', 'de')).toBe('[[1 de]]')
    expect(asked()).toBe(4)
  })

  it('has ids of its own when a page shows it twice', async () => {
    await want({ maxAgeMs: 60_000 })
    const id = `v${'ab'.repeat(8)}`
    cloud.m1.views.set('shop.m1/index', () => shown('§§', [{ component: 'item' }, { component: 'item' }]))
    item(() => shown(`<div id="${id}">§</div>`, [{ component: 'oops', view: 'default', id }]))
    const { body } = await cloud.ask('/shop')
    const ids = [...body.matchAll(/ id="(v[0-9a-f]{16})"/g)].map(each => each[1])
    expect([ids.length, new Set(ids).size]).toEqual([2, 2])
    expect(body.match(/oops<\/div><\/div>/g)).toHaveLength(2)
  })
})
