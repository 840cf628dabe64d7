import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { waitUntil } from '../support/etcd.js'
import { shown, type View } from '../support/fake-mothership.js'
import { aVersion, bare, bodyOf, type Reply, SmallCloud } from '../support/small-cloud.js'

let cloud: SmallCloud

beforeAll(async () => {
  cloud = await SmallCloud.start()
})
afterAll(() => cloud.stop())
beforeEach(() => cloud.forget())

/** What stands where nothing could be shown. */
const note = (what: string, status: number, reason: string): string => {
  const [component, view] = what.split('/')
  return `<!-- data-rain-component="${component}" data-rain-status="${status}" data-rain-view="${view}" ${reason} -->`
}

/** Which of two clocks was faster shows in the reason. */
const late = (reply: Reply): string => bare(reply).replace(/("504" data-rain-view="\w+") .*? -->/, '$1 late -->')

/** A view on m1. */
const on1 = (name: string, view: View): void => void cloud.m1.views.set(name, view)
const on2 = (name: string, view: View): void => void cloud.m2.views.set(name, view)

describe('a page', () => {
  it('is the finished document of its fragments, nested ones included, from several motherships', async () => {
    await cloud.want({
      components: [
        aVersion('shop', ['m1'], { pageTitle: 'Shop' }),
        aVersion('cart', ['m2'], { views: ['small'] }),
        aVersion('price', ['m1']),
      ],
    })
    on1('shop.m1/index', () => shown('<h1>Shop</h1><p>§</p>', [{ component: 'cart', view: 'small' }]))
    on2('cart.m2/small', () => shown('Cart: <b>§</b>!', [{ component: 'price' }]))
    on1('price.m1/index', () => shown('3 €'))
    const reply = await cloud.ask('/shop')

    expect(reply.status).toBe(200)
    expect(reply.headers).toMatchObject({
      'content-type': 'text/html; charset=utf-8',
      'cache-control': 'no-store',
    })
    expect(reply.body).toBe(
      `<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Shop</title>
</head>
<body>
<div data-rain-component="shop" data-rain-version="1.0" data-rain-instance="shop.m1" data-rain-mothership="m1">` +
        '<h1>Shop</h1><p>' +
        '<div data-rain-component="cart" data-rain-version="1.0" data-rain-instance="cart.m2" data-rain-mothership="m2">' +
        'Cart: <b>' +
        '<div data-rain-component="price" data-rain-version="1.0" data-rain-instance="price.m1" data-rain-mothership="m1">' +
        `3 €</div></b>!</div></p></div>
</body>
</html>
`,
    )
  })

  it('asks for all children before any of them has answered', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1']), aVersion('item', ['m2'], { views: ['a', 'b', 'c'] })] })
    const children = ['a', 'b', 'c'].map(view => ({ component: 'item', view }))
    on1('shop.m1/index', () => shown('§-§-§', children))
    // None answers until all were asked, and then the last one first.
    const all = (): Promise<void> => waitUntil('all are asked', () => cloud.m2.asked.length === 3)
    let release!: () => void
    const last = new Promise<void>(resolve => (release = resolve))
    on2('item.m2/a', () => last.then(() => shown('A')))
    on2('item.m2/b', () => all().then(() => shown('B')))
    on2('item.m2/c', async () => {
      await all()
      release()
      return shown('C')
    })

    expect(bare(await cloud.ask('/shop'))).toBe('[[A]-[B]-[C]]')
  })

  it('puts the views of a block where the container has their tokens, once, and none where it has not', async () => {
    const components = [aVersion('shop', ['m1']), aVersion('box', ['m2']), aVersion('price', ['m1'])]
    await cloud.want({ components: [...components, aVersion('lost', ['m1'])] })
    const [a, b, c] = ['a', 'b', 'c'].map(each => `\u0000${each.repeat(32)}:0\u0000`) as [string, string, string]
    const block = { content: `<p>${a}</p>`, items: [{ row: 1, content: b }] }
    const guest = { view: 'index', context: {} }
    const guests = [
      { ...guest, id: 'g1', component: 'price', context: { of: 1 }, host: 'v0', token: a },
      // A container in a container.
      { ...guest, id: 'g2', component: 'box', host: 'v0', token: b, block: { content: c, items: [] } },
      { ...guest, id: 'g3', component: 'price', host: 'g2', token: c },
      { ...guest, id: 'g4', component: 'lost', host: 'v0', token: `\u0000${'d'.repeat(32)}:0\u0000` },
    ]
    on1('shop.m1/index', () => shown('§', [{ component: 'box', block }], { guests, context: { lang: 'de' } }))
    on2('box.m2/index', ({ block: around }) => {
      const { content = '', items = [] } = around ?? {}
      const rows = items.map(each => String(each['content'])).join('')
      return shown(`§<i>${content}${rows}${content}</i>`, [{ component: 'price', context: { of: 'box' } }])
    })
    on1('price.m1/index', ({ context }) => shown(`${context['of'] ?? 'free'}`))

    expect(bare(await cloud.ask('/shop'))).toBe('[[[box]<i><p>[1]</p>[[box]<i>[free]</i>]<p></p></i>]]')
    const guestsAsked = cloud.m1.askedFor('price.m1').map(each => each.context)
    // A guest has the context of who wrote the block, not of the container.
    expect(guestsAsked).toContainEqual({ lang: 'de', of: 1 })
    expect(cloud.m1.askedFor('lost.m1')).toEqual([])
  })

  it('takes containers within containers, as many as there are, and no view that contains itself by a block', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1']), aVersion('box', ['m2']), aVersion('loop', ['m1'])] })
    const token = (n: number): string => `\u0000${String(n).repeat(32)}:0\u0000`
    const nested = { component: 'box', view: 'index', context: {} }
    const block = (n: number) => ({ content: n < 4 ? token(n + 1) : 'end', items: [] })
    const guests = [1, 2, 3, 4].map(n => ({
      ...nested,
      id: `g${n}`,
      host: n === 1 ? 'v0' : `g${n - 1}`,
      token: token(n),
      block: block(n),
    }))
    on1('shop.m1/index', () => shown('§', [{ ...nested, block: block(0) }], { guests }))
    on2('box.m2/index', ({ block: around }) => shown(`(${around?.content})`))
    expect(bare(await cloud.ask('/shop'))).toBe('[[([([([([(end)])])])])]]')

    const self = { id: 'g0', component: 'loop', view: 'index', context: {}, host: 'v0', token: token(0) }
    on1('loop.m1/index', () => {
      return shown('§', [{ ...nested, block: { content: token(0), items: [] } }], { guests: [self] })
    })
    expect(bare(await cloud.ask('/loop'))).toContain('data-rain-status="508"')
  })

  it('gives children the context of their parent, and what the template adds', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1']), aVersion('cart', ['m2']), aVersion('price', ['m1'])] })
    on1('shop.m1/index', () =>
      shown('§', [{ component: 'cart', context: { size: '<big>' } }], { context: { lang: 'de', size: 'small' } }),
    )
    on2('cart.m2/index', () => shown('§', [{ component: 'price', context: { of: 1 } }], { context: { items: [1] } }))
    on1('price.m1/index', () => shown(''))
    await cloud.ask('/shop?page=2', {
      headers: { accept: 'text/html', 'accept-language': 'de-CH,en', cookie: 'secret=1', authorization: 'Basic x' },
    })

    const [shop] = cloud.m1.askedFor('shop.m1')
    const [cart] = cloud.m2.askedFor('cart.m2')
    const [price] = cloud.m1.askedFor('price.m1')
    expect([shop, cart, price].map(each => each?.context)).toEqual([
      {},
      { lang: 'de', size: '<big>' },
      { items: [1], of: 1 },
    ])
    expect(cart).toMatchObject({
      session: shop?.session,
      locale: 'de-CH',
      request: { url: '/shop?page=2', query: { page: '2' }, headers: { 'accept-language': 'de-CH,en' } },
    })
  })

  it('escapes whatever it puts around and between the fragments', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1']), aVersion('cart', ['m2'])] })
    on1('shop.m1/index', () =>
      shown('§', [{ component: 'cart' }], {
        title: '</title><script>alert(1)</script>',
        css: ['/a.css"><script>'],
        js: ["/a.js' onload='x"],
        instance: '"><script>',
      }),
    )
    on2('cart.m2/index', () => ({ status: 500, reason: '"><script>alert("reason")</script>' }))
    const { body } = await cloud.ask('/shop')

    expect(body).not.toMatch(/<script>/)
    expect(body).toContain('<title>&#60;/title&#62;&#60;script&#62;')
    expect(body).toContain('<link rel="stylesheet" href="/a.css&#34;&#62;&#60;script&#62;">')
    expect(body).toContain(`<script src="/a.js&#39; onload=&#39;x" defer></script>`)
    expect(body).toContain('data-rain-instance="&#34;&#62;&#60;script&#62;"')
    expect(body).toContain(note('cart/index', 500, 'cart failed'))
  })

  it('names each style sheet and script once, and has the title of its own component', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1']), aVersion('item', ['m2'])] })
    on1('shop.m1/index', () =>
      shown('§§', [{ component: 'item' }, { component: 'item' }], {
        title: 'The shop',
        css: ['/base.css', '/shop.css'],
        js: ['/shop.js'],
      }),
    )
    on2('item.m2/index', () =>
      shown('', [], { title: 'An item', css: ['/base.css', '/item.css'], js: ['/item.js', '/shop.js'] }),
    )
    const { body } = await cloud.ask('/shop')

    expect([...body.matchAll(/<title>(.*?)<\/title>/g)].map(each => each[1])).toEqual(['The shop'])
    expect([...body.matchAll(/href="(.*?)"/g)].map(each => each[1])).toEqual(['/base.css', '/shop.css', '/item.css'])
    expect([...body.matchAll(/<script src="(.*?)"/g)].map(each => each[1])).toEqual(['/shop.js', '/item.js'])
  })

  it('names style sheets and scripts in the order of the page, whoever answers first', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1']), aVersion('item', ['m2'], { views: ['a', 'b'] })] })
    on1('shop.m1/index', () =>
      shown(
        '§§',
        ['a', 'b'].map(view => ({ component: 'item', view })),
      ),
    )
    let release!: () => void
    const released = new Promise<void>(resolve => (release = resolve))
    on2('item.m2/a', () => released.then(() => shown('', [], { css: ['/a.css'], js: ['/a.js'] })))
    // b's frame goes first, and frames of one link keep their order.
    on2('item.m2/b', async () => {
      await waitUntil('a is asked', () => cloud.m2.askedFor('item.m2', 'a').length === 1)
      setImmediate(release)
      return shown('', [], { css: ['/b.css'], js: ['/b.js'] })
    })
    const { body } = await cloud.ask('/shop')

    expect([...body.matchAll(/href="(.*?)"/g)].map(each => each[1])).toEqual(['/a.css', '/b.css'])
    expect([...body.matchAll(/<script src="(.*?)"/g)].map(each => each[1])).toEqual(['/a.js', '/b.js'])
  })

  it('shows versions as they are asked for: exact, by fragment, the latest, or its own', async () => {
    await cloud.want({
      components: [
        aVersion('shop', ['m1']),
        aVersion('item', ['m1'], { copies: [{ instance: 'item.10', mothership: 'm1', epoch: 1 }] }),
        aVersion('item', ['m1'], {
          version: '1.2.0',
          exact: '1.2',
          copies: [{ instance: 'item.12', mothership: 'm1', epoch: 1 }],
        }),
        aVersion('item', ['m1'], {
          version: '2.0.0',
          exact: '2.0',
          active: false,
          copies: [{ instance: 'item.20', mothership: 'm1', epoch: 1 }],
        }),
      ],
    })
    on1('shop.m1/index', () =>
      shown('§,§,§,§,§', [
        { component: 'item', version: '1.0' },
        { component: 'item', version: '1' },
        { component: 'item' },
        { component: 'item', version: '2.0' },
        { component: 'item', version: '3' },
      ]),
    )
    for (const instance of ['item.10', 'item.12', 'item.20']) on1(`${instance}/index`, () => shown(instance))

    expect(bare(await cloud.ask('/shop'))).toBe(
      `[[item.10],[item.12],[item.12],[item.20],${note('item/index', 404, 'there is no component item/3')}]`,
    )
  })

  it('stays with one session, by a cookie, and so with one copy', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1', 'm2'])] })
    on1('shop.m1/index', () => shown('1'))
    on2('shop.m2/index', () => shown('2'))
    const first = await cloud.ask('/shop')
    const cookie = first.headers['set-cookie']?.[0] ?? ''
    expect(cookie).toMatch(/^rain-sid=[0-9a-f]{32}; Path=\/; HttpOnly; SameSite=Lax$/)

    const headers = { accept: 'text/html', cookie: `a=b; ${cookie.split(';')[0]}; c=d` }
    for (let i = 0; i < 5; i++) {
      const again = await cloud.ask('/shop', { headers })
      expect([bodyOf(again), again.headers['set-cookie']]).toEqual([bodyOf(first), undefined])
    }
    const sessions = [...cloud.m1.asked, ...cloud.m2.asked].map(each => each.session)
    expect(new Set(sessions)).toEqual(new Set([cookie.slice('rain-sid='.length, 41)]))

    const seen = new Set<string>()
    for (let i = 0; i < 16; i++) {
      const other = `rain-sid=${i.toString(16).repeat(32)}`
      seen.add(bare(await cloud.ask('/shop', { headers: { accept: 'text/html', cookie: other } })))
    }
    expect(seen).toEqual(new Set(['[1]', '[2]']))
  })
})

describe('a fragment that fails', () => {
  it('shows in its place, and the page goes on', async () => {
    await cloud.want({
      components: [aVersion('shop', ['m1']), aVersion('item', ['m2'], { views: ['a', 'b', 'c'] }), aVersion('off', [])],
    })
    on1('shop.m1/index', () =>
      shown('§-§-§-§-§-§', [
        { component: 'item', view: 'a' },
        { component: 'item', view: 'b' },
        { component: 'ghost' },
        { component: 'item', view: 'none' },
        { component: 'off' },
        { component: 'item', view: 'c' },
      ]),
    )
    on2('item.m2/a', () => shown('A'))
    on2('item.m2/b', () => ({ status: 500, reason: 'no database' }))
    on2('item.m2/c', () => ({ status: 401, reason: 'needs the permission read' }))
    const reply = await cloud.ask('/shop')

    expect(reply.status).toBe(200)
    expect(bare(reply).split('-§-')[0]).toBe(
      `[[A]-${note('item/b', 500, 'item failed')}-${note('ghost/index', 404, 'there is no component ghost')}-` +
        `${note('item/none', 404, 'item has no view none')}-${note('off/index', 503, 'no copy of off runs')}-` +
        `${note('item/c', 401, 'needs the permission read')}]`,
    )
  })

  it('is given up at its deadline, cancelled, and replaced', async () => {
    await cloud.want({
      server: { fragmentDeadlineMs: 300 },
      components: [aVersion('shop', ['m1']), aVersion('item', ['m2'], { views: ['a', 'b'] })],
    })
    on1('shop.m1/index', () =>
      shown('§-§', [
        { component: 'item', view: 'a' },
        { component: 'item', view: 'b' },
      ]),
    )
    on2('item.m2/a', () => undefined)
    on2('item.m2/b', () => shown('B'))
    const reply = await cloud.ask('/shop')

    expect(reply.status).toBe(200)
    expect(late(reply)).toBe(`[${note('item/a', 504, 'late')}-[B]]`)
    const silent = cloud.m2.askedFor('item.m2', 'a')[0]!
    expect(silent.deadlineMs).toBeGreaterThan(0)
    expect(silent.deadlineMs).toBeLessThanOrEqual(300)
    await waitUntil('it is cancelled', () => cloud.m2.cancelled.includes(silent.r))
    expect(cloud.m2.cancelled).toEqual([silent.r])
  })

  it('has no more time than its page has left', async () => {
    await cloud.want({
      server: { pageDeadlineMs: 400 },
      components: [aVersion('shop', ['m1']), aVersion('item', ['m2'])],
    })
    on1('shop.m1/index', () => shown('§', [{ component: 'item' }]))
    on2('item.m2/index', () => undefined)

    expect(late(await cloud.ask('/shop'))).toBe(`[${note('item/index', 504, 'late')}]`)
    expect(cloud.m2.asked[0]!.deadlineMs).toBeLessThanOrEqual(400)
  })

  it.each([502, 503, 504])('with %i is asked of another copy', async status => {
    await cloud.want({ components: [aVersion('shop', ['m1', 'm2'])] })
    let asked = 0
    const view: View = () => (++asked === 1 ? { status, reason: 'not here' } : shown('there'))
    on1('shop.m1/index', view)
    on2('shop.m2/index', view)

    expect(bare(await cloud.ask('/shop'))).toBe('[there]')
    expect([cloud.m1.asked.length, cloud.m2.asked.length]).toEqual([1, 1])
  })

  it.each([401, 404, 500])('with %i, its own word, is not asked again', async status => {
    await cloud.want({ components: [aVersion('shop', ['m1', 'm2'])] })
    const view: View = () => ({ status, reason: 'that is so' })
    on1('shop.m1/index', view)
    on2('shop.m2/index', view)

    expect((await cloud.ask('/shop')).status).toBe(status)
    expect(cloud.m1.asked.length + cloud.m2.asked.length).toBe(1)
  })

  it('because the link was lost is asked of another copy', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1', 'm2'])] })
    let asked = 0
    for (const mothership of [cloud.m1, cloud.m2]) {
      mothership.views.set(`shop.${mothership.id}/index`, () => {
        if (++asked > 1) return shown('there')
        mothership.cut()
        return undefined
      })
    }

    expect(bare(await cloud.ask('/shop'))).toBe('[there]')
    await waitUntil('the link is back', () => cloud.m1.links.size === 1 && cloud.m2.links.size === 1)
  })

  it('is asked of at most three copies', async () => {
    const copies = ['m1', 'm2'].flatMap(mothership =>
      [1, 2, 3].map(n => ({ instance: `shop.${n}`, mothership, epoch: 1 })),
    )
    await cloud.want({ components: [aVersion('shop', [], { copies })] })
    for (const { instance, mothership } of copies) {
      const view: View = () => ({ status: 503, reason: 'not now' })
      if (mothership === 'm1') on1(`${instance}/index`, view)
      else on2(`${instance}/index`, view)
    }

    expect((await cloud.ask('/shop')).status).toBe(503)
    expect(cloud.m1.asked.length + cloud.m2.asked.length).toBe(3)
  })

  it('because its context does not fit into a frame costs neither another fragment nor the link', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1']), aVersion('item', ['m2'], { views: ['a', 'b'] })] })
    // With the url, which comes twice, just too much for a frame.
    const text = 'x'.repeat(1_040_000)
    on1('shop.m1/index', () =>
      shown(
        '§-§',
        ['a', 'b'].map(view => ({ component: 'item', view, context: view === 'a' ? { text: '' } : {} })),
        { context: { text } },
      ),
    )
    on2('item.m2/a', () => shown('A'))
    const links = cloud.m2.tickets.length

    expect(bare(await cloud.ask(`/shop?q=${'q'.repeat(7000)}`)).replace(/\d{7,}/, 'N')).toBe(
      `[[A]-${note('item/b', 500, 'item failed')}]`,
    )
    expect([cloud.m2.links.size, cloud.m2.tickets.length]).toEqual([1, links])
  })

  it('is not asked of a mothership that said good-bye', async () => {
    await cloud.want({ server: { fragmentDeadlineMs: 1000 }, components: [aVersion('shop', ['m1', 'm2'])] })
    on1('shop.m1/index', () => shown('1'))
    on2('shop.m2/index', () => shown('2'))
    const of = (session: number): Promise<Reply> =>
      cloud.ask('/shop', { headers: { accept: 'text/html', cookie: `rain-sid=${session.toString(16).repeat(32)}` } })
    let session = 0
    while (bare(await of(session)) !== '[1]') session++
    // It hangs after that, so that its connection stays for a while.
    cloud.m1.say({ t: 'bye', code: 'going-away', reconnect: true })
    for (const socket of cloud.m1.links) socket.pause()

    expect(bare(await of(session))).toBe('[2]')
    cloud.m1.cut()
    await waitUntil('the link is back', async () => bare(await of(session)) === '[1]')
  })

  it('because it contains itself is stopped', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1']), aVersion('cart', ['m2'])] })
    on1('shop.m1/index', () => shown('s§', [{ component: 'cart' }]))
    on2('cart.m2/index', () => shown('c§', [{ component: 'shop' }]))
    const reply = await cloud.ask('/shop')

    expect(reply.status).toBe(200)
    expect(bare(reply)).toBe(`[s[c[s[c${note('shop/index', 508, 'shop/1.0.0/index contains itself')}]]]]`)
  })

  it('because the page has too many is stopped', async () => {
    await cloud.want({ components: [aVersion('shop', ['m1']), aVersion('item', ['m2'])] })
    on1('shop.m1/index', () =>
      shown(
        '§'.repeat(250),
        Array.from({ length: 250 }, () => ({ component: 'item' })),
      ),
    )
    on2('item.m2/index', () => shown('i'))
    const reply = await cloud.ask('/shop')

    expect(reply.status).toBe(200)
    expect(cloud.m2.asked).toHaveLength(199)
    expect(reply.body.match(/data-rain-status="508"/g)).toHaveLength(51)
  })

  it('shows as the view of the error component that has its status, or its default', async () => {
    await cloud.want({
      server: { errorComponent: 'oops' },
      components: [
        aVersion('shop', ['m1']),
        aVersion('item', ['m2'], { views: ['a', 'b'] }),
        aVersion('oops', ['m2'], { views: ['default', '404'] }),
      ],
    })
    on1('shop.m1/index', () => shown('§-§', [{ component: 'ghost' }, { component: 'item', view: 'a' }]))
    on2('item.m2/a', () => ({ status: 500, reason: 'no database' }))
    on2('oops.m2/404', ({ context }) => shown(`<i>no ${String(context['component'])}</i>`, [], { css: ['/oops.css'] }))
    on2('oops.m2/default', ({ context }) => shown(`<i>${String(context['status'])}</i>`))
    const reply = await cloud.ask('/shop')

    expect(bodyOf(reply)).toMatch(/<i>no ghost<\/i>.*-.*<i>500<\/i>/)
    expect(reply.body).toContain('href="/oops.css"')
    expect(reply.body).not.toContain('not available at the moment')
  })

  it('shows as nothing but a comment where the error component fails too', async () => {
    await cloud.want({
      server: { errorComponent: 'oops' },
      components: [aVersion('shop', ['m1']), aVersion('oops', ['m2'], { views: ['default'] })],
    })
    on1('shop.m1/index', () => shown('§', [{ component: 'ghost' }]))
    on2('oops.m2/default', () => ({ status: 500, reason: 'as well' }))

    expect(bare(await cloud.ask('/shop'))).toBe(`[${note('ghost/index', 404, 'there is no component ghost')}]`)
  })
})
