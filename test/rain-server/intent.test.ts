import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { readIntent, resolveIntent } from '../../src/rain-server/intent.js'
import { nothingWanted } from '../../src/rain-server/wanted.js'
import { shown } from '../support/fake-mothership.js'
import { aVersion, type Reply, SmallCloud } from '../support/small-cloud.js'

const show = { category: 'com.chat', action: 'SHOW', provider: 'small/box' }
const log = { category: 'com.chat', action: 'LOG', provider: 'log.js#write' }
const both = { category: 'com.both', action: 'DO', provider: 'index' }
const views = ['index', 'small/box']
const chat = aVersion('chat', ['m1'], { views, intents: [show, log, both] })
const older = aVersion('chat', ['m1'], { version: '0.9.0', exact: '0.9', views, intents: [{ ...show, action: 'OLD' }] })
const idle = aVersion('chat', [], { version: '2.0.0', exact: '2.0', views, intents: [show] })
const other = aVersion('other', ['m2'], { intents: [both] })
const asleep = aVersion('asleep', [], { intents: [{ ...log, action: 'SLEEP' }] })

const state = {
  ...nothingWanted,
  components: new Map([
    ['chat', [chat, older, idle]],
    ['other', [other]],
  ]),
}
const resolved = (category: string, action: string, more: object = {}): string => {
  const found = resolveIntent(state, { category, action, context: {}, ...more })
  if (found.kind === 'unknown') return found.reason
  if (found.kind === 'ambiguous') return found.components.join(' or ')
  return `${found.component.id} ${found.component.exact} ${JSON.stringify(found.provider)}`
}

describe('who answers an intent', () => {
  it('is the highest version that runs, of those that offer it', () => {
    expect(resolved('com.chat', 'SHOW')).toBe('chat 1.0 {"kind":"view","view":"small/box"}')
    expect(resolved('com.chat', 'OLD')).toBe('chat 0.9 {"kind":"view","view":"small/box"}')
    expect(resolved('com.chat', 'LOG')).toBe('chat 1.0 {"kind":"server","file":"log.js","method":"write"}')
  })

  it('is nobody, and two of whom one has to be named', () => {
    expect(resolved('com.chat', 'NEVER')).toBe('nobody here answers to the intent com.chat NEVER')
    expect(resolved('com.chat', 'SHOW', { component: 'other' })).toContain('SHOW of other')
    expect(resolved('com.both', 'DO')).toBe('chat or other')
    expect(resolved('com.both', 'DO', { component: 'other' })).toMatch(/^other 1.0/)
    expect(resolved('com.both', 'DO', { component: 'chat', version: '0.9' })).toContain('DO of chat 0.9')
    expect(resolved('com.chat', 'SHOW', { component: 'chat', version: '2' })).toMatch(/^chat 2.0/)
  })
})

describe('what is asked', () => {
  it.each([
    ['no JSON', '{'],
    ['a list', '[]'],
    ['nothing', 'null'],
    ['no category', '{"action":"a"}'],
    ['an empty action', '{"category":"a","action":""}'],
    ['a number for an action', '{"category":"a","action":1}'],
    ['a context that is a list', '{"category":"a","action":"b","context":[]}'],
    ['a component that is no text', '{"category":"a","action":"b","component":{}}'],
  ])('has to be an intent, not %s', (_name, text) => {
    expect(readIntent(text)).toEqual({ kind: 'bad', reason: expect.any(String) })
  })
})

let cloud: SmallCloud
beforeAll(async () => {
  cloud = await SmallCloud.start()
  await cloud.want({ components: [chat, other, asleep] })
})
beforeEach(() => cloud.forget())
afterAll(() => cloud.stop())

const json = { 'content-type': 'application/json', 'accept-language': 'de' }
const ask = (body: object | string, headers: Record<string, string> = json, method = 'POST'): Promise<Reply> =>
  cloud.ask('/core/controller/intents', {
    method,
    headers,
    body: typeof body === 'string' ? body : JSON.stringify(body),
  })
const said = ({ body }: Reply): unknown => JSON.parse(body)
const sid = { cookie: `rain-sid=${'a'.repeat(32)}` }

describe('an intent that a page sends', () => {
  it('comes back as the view with all within it, in the language and session of the page', async () => {
    cloud.m1.views.set('chat.m1/small/box', ({ context }) =>
      shown(`<b>${String(context['to'])}</b>§`, [{ component: 'other' }], { css: ['/c.css'], js: ['/c.js'] }),
    )
    cloud.m2.views.set('other.m2/index', () => shown('inner', [], { css: ['/o.css'] }))
    const reply = await ask({ ...show, context: { to: 'Ada' } }, { ...json, ...sid })

    expect(reply.status).toBe(200)
    expect(said(reply)).toEqual({
      kind: 'view',
      component: 'chat',
      version: '1.0',
      view: 'small/box',
      title: null,
      html: expect.stringMatching(/^<div data-rain-component="chat".*<b>Ada<\/b><div.*>inner<\/div><\/div>$/),
      css: ['/c.css', '/o.css'],
      js: ['/c.js'],
    })
    expect(reply.headers['set-cookie']).toBeUndefined()
    expect(cloud.m1.asked[0]).toMatchObject({ session: 'a'.repeat(32), locale: 'de', context: { to: 'Ada' } })
  })

  it('comes back as what code of the server says', async () => {
    cloud.m1.onCall = () => ({ headers: {}, body: Buffer.from('{"written":[1,2]}') })
    const reply = await ask({ ...log, context: { message: 'hello' } })

    expect([reply.status, said(reply)]).toEqual([
      200,
      { kind: 'server', component: 'chat', version: '1.0', data: { written: [1, 2] } },
    ])
    expect(reply.headers['set-cookie']?.[0]).toMatch(/^rain-sid=[0-9a-f]{32}; Path=\/; HttpOnly; SameSite=Lax$/)
    const called = cloud.m1.calls[0]!
    expect(called).toMatchObject({
      kind: 'intent',
      intent: { category: 'com.chat', action: 'LOG' },
      path: 'log.js#write',
      instance: 'chat.m1',
      verb: 'POST',
    })
    expect(JSON.parse(Buffer.from(called.body as Uint8Array).toString())).toEqual({ message: 'hello' })
  })

  it('that nobody answers is 404, and that two answer 409 with who they are', async () => {
    const none = await ask({ category: 'com.chat', action: 'NEVER' })
    expect([none.status, said(none)]).toEqual([404, { error: 'nobody here answers to the intent com.chat NEVER' }])
    const two = await ask(both)
    expect([two.status, said(two)]).toEqual([
      409,
      { error: expect.stringContaining('chat and other answer'), components: ['chat', 'other'] },
    ])
    cloud.m2.views.set('other.m2/index', () => shown('it'))
    expect((await ask({ ...both, component: 'other' })).status).toBe(200)
  })

  it('has the status of what failed, with what a user may know', async () => {
    cloud.m1.views.set('chat.m1/small/box', () => ({ status: 401, reason: 'needs the permission talk' }))
    const refused = await ask(show)
    expect([refused.status, said(refused)]).toEqual([401, { error: 'needs the permission talk' }])
    cloud.m1.onCall = () => ({ failed: 500 })
    const failed = await ask(log)
    expect([failed.status, said(failed)]).toEqual([500, { error: 'chat failed' }])
    const nowhere = await ask({ ...log, action: 'SLEEP' })
    expect(nowhere.status).toBe(503)
  })

  it('is JSON by POST, and nothing else', async () => {
    expect((await ask('{')).status).toBe(400)
    expect((await ask(log, { 'content-type': 'text/plain' })).status).toBe(415)
    expect((await ask(JSON.stringify({ ...log, context: { big: 'x'.repeat(600_000) } }))).status).toBe(413)
    const got = await cloud.ask('/core/controller/intents')
    expect([got.status, got.headers.allow]).toEqual([405, 'POST'])
  })
})
