/** A link to a mothership that a test makes up, over a real websocket. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { frameBytesMax, type Visit } from '../../src/protocol/messages.js'
import { Link, type RenderAnswer, type RenderRequest, type UnderWay } from '../../src/rain-server/link.js'
import { waitUntil } from '../support/etcd.js'
import { FakeMothership, shown } from '../support/fake-mothership.js'
import { TestLog } from '../support/logs.js'
import { testClock } from '../support/plain-store.js'

let mothership: FakeMothership
let link: Link

beforeEach(async () => {
  mothership = await FakeMothership.start('m1')
  mothership.views.set('news.1/index', ({ context }) => shown(`news ${context['n']}`))
})
afterEach(async () => {
  await link.close(false)
  await mothership.close()
})

async function linked(): Promise<void> {
  link = new Link(mothership.wire(), testClock, new TestLog(), { onChange: () => undefined, onOpen: () => undefined })
  await waitUntil('it is linked', () => link.open)
  // `takes` comes with the first frames; a page that is quicker asks by `render`.
  link.render(asked({}, 'first'), () => undefined)
  await waitUntil('it was heard', () => link.underWay === 0)
  mothership.forget()
  mothership.views.set('news.1/index', ({ context }) => shown(`news ${context['n']}`))
}

const asked = (visit: Visit, n: unknown, more: Partial<RenderRequest> = {}): RenderRequest => ({
  visit,
  instance: 'news.1',
  view: 'index',
  context: { n },
  deadlineMs: 5_000,
  ...more,
})

/** All at once, as a page does. */
function render(requests: readonly RenderRequest[]): { underWay: UnderWay[]; answers: Promise<RenderAnswer[]> } {
  const underWay: UnderWay[] = []
  const answers = requests.map(each => new Promise<RenderAnswer>(resolve => underWay.push(link.render(each, resolve))))
  return { underWay, answers: Promise.all(answers) }
}

const htmlOf = (answer: RenderAnswer): string => (answer.kind === 'fragment' ? answer.fragment.html : answer.reason)

describe('views that are asked for at once', () => {
  it('go in one frame for each visit, with what they share', async () => {
    await linked()
    const [ann, ben]: Visit[] = [{ session: 'ann', locale: 'de' }, { session: 'ben' }]
    const { answers } = render([asked(ann!, 1), asked(ben!, 2), asked(ann!, 3), asked(ben!, 4)])

    expect((await answers).map(htmlOf)).toEqual(['news 1', 'news 2', 'news 3', 'news 4'])
    expect(mothership.frames.filter(t => t.startsWith('render'))).toEqual(['renders', 'renders'])
    expect(mothership.asked.map(each => [each.session, each.locale, each.context['n']])).toEqual([
      ['ann', 'de', 1],
      ['ann', 'de', 3],
      ['ben', undefined, 2],
      ['ben', undefined, 4],
    ])
  })

  it('go each on its own to a mothership that does not know better', async () => {
    mothership.takesRenders = false
    await linked()
    const visit: Visit = { session: 'ann' }

    expect((await render([asked(visit, 1), asked(visit, 2)]).answers).map(htmlOf)).toEqual(['news 1', 'news 2'])
    expect(mothership.frames.filter(t => t.startsWith('render'))).toEqual(['render', 'render'])
  })

  it('go each on its own when they do not fit into one frame, and the one that fits into none fails alone', async () => {
    await linked()
    const visit: Visit = { session: 'ann' }
    const long = (share: number): RenderRequest['context'] => ({ n: 0, text: 'x'.repeat(frameBytesMax * share) })
    const { answers } = render([
      asked(visit, 1),
      asked(visit, 0, { context: long(0.6) }),
      asked(visit, 0, { context: long(0.6) }),
      asked(visit, 0, { context: long(1.1) }),
    ])

    expect((await answers).map(htmlOf)).toEqual([
      'news 1',
      'news 0',
      'news 0',
      expect.stringMatching(/^a request of \d+ bytes does not fit into a frame$/),
    ])
    expect(link.open).toBe(true)
  })

  it('are not asked for when they are given up before, and cancelled when they are given up later', async () => {
    mothership.views.set('news.1/slow', () => undefined)
    await linked()
    mothership.views.set('news.1/slow', () => undefined)
    const visit: Visit = { session: 'ann' }
    const { underWay } = render([asked(visit, 1, { view: 'slow' }), asked(visit, 2, { view: 'slow' })])
    underWay[0]!.cancel()
    await waitUntil('the other one is asked for', () => mothership.asked.length > 0)
    underWay[1]!.cancel()
    await waitUntil('it is cancelled', () => mothership.cancelled.length > 0)

    expect(mothership.asked.map(each => each.context['n'])).toEqual([2])
    expect(mothership.cancelled).toEqual([mothership.asked[0]!.r])
    expect(link.underWay).toBe(0)
  })

  it('fail each at its own deadline, and are cancelled then', async () => {
    await linked()
    mothership.views.set('news.1/slow', () => undefined)
    const visit: Visit = { session: 'ann' }
    const { answers } = render([
      asked(visit, 1, { view: 'slow', deadlineMs: 60 }),
      asked(visit, 2),
      asked(visit, 3, { view: 'slow', deadlineMs: 30 }),
    ])

    expect((await answers).map(htmlOf)).toEqual(['no answer in 60 ms', 'news 2', 'no answer in 30 ms'])
    await waitUntil('both are cancelled', () => mothership.cancelled.length === 2)
  })

  it('fail when the link is lost, each as unanswered', async () => {
    await linked()
    mothership.views.set('news.1/slow', () => undefined)
    const visit: Visit = { session: 'ann' }
    const { answers } = render([asked(visit, 1, { view: 'slow' }), asked(visit, 2, { view: 'slow' })])
    await waitUntil('they are asked for', () => mothership.asked.length === 2)
    mothership.cut()

    for (const each of await answers) expect(each).toMatchObject({ kind: 'failed', status: 502, unanswered: true })
  })
})

describe('answers', () => {
  it('may come several in a frame, whatever else is in it', async () => {
    await linked()
    mothership.views.set('news.1/slow', () => undefined)
    const visit: Visit = { session: 'ann' }
    const { answers } = render([1, 2, 3].map(n => asked(visit, n, { view: 'slow' })))
    await waitUntil('they are asked for', () => mothership.asked.length === 3)
    const [one, two, three] = mothership.asked.map(({ r }) => r)
    const fragment = { t: 'fragment', instance: 'news.1', mothership: 'm1', css: [], js: [], context: {}, children: [] }
    mothership.say({
      t: 'several',
      list: [
        { ...fragment, r: two, html: 'two' },
        { t: 'of a later release', r: 1 },
        'nonsense',
        { ...fragment, r: one, html: 5 },
        { t: 'several', list: [{ ...fragment, r: one, html: 'within' }] },
        { t: 'failed', r: three, status: 500, reason: 'it failed' },
        { ...fragment, r: one, html: 'one' },
      ],
    })

    expect((await answers).map(htmlOf)).toEqual(['one', 'two', 'it failed'])
  })
})
