import { describe, expect, it } from 'vitest'
import { CallSession, ComponentSession, GlobalSession } from '../../src/mothership/component-session.js'
import { sessionBytesMax } from '../../src/protocol/session-change.js'
import { running } from '../support/component.js'

describe('a session', () => {
  it("has RAIN's methods, and tells what was changed by them, once", () => {
    const session = new ComponentSession('s1', { a: { deep: [1] }, b: 2, c: 3 })
    session.set('a', { deep: [1, 2] })
    session.remove('b')
    session.remove('never there')
    session.set('d', new Date(0))
    session.set('c', undefined)
    expect([session.get('a'), session.get('b'), session.get('constructor')]).toEqual([
      { deep: [1, 2] },
      undefined,
      undefined,
    ])
    expect(session.change()).toEqual({
      cleared: false,
      set: { a: { deep: [1, 2] }, d: '1970-01-01T00:00:00.000Z' },
      removed: ['b', 'c'],
    })
    expect(session.change()).toBeUndefined()
    session.removeAll()
    session.set('e', 1)
    expect([session.isEmpty(), session.change()]).toEqual([false, { cleared: true, set: { e: 1 }, removed: [] }])
  })

  it('gives copies: what is to be kept has to be set', () => {
    const session = new ComponentSession('s1', { a: { n: 1 } })
    ;(session.get('a') as { n: number }).n = 2
    expect([session.get('a'), session.change()]).toEqual([{ n: 1 }, undefined])
  })

  it('holds so much and no more', () => {
    const session = new ComponentSession('s1')
    expect(() => session.set('a', 'x'.repeat(sessionBytesMax))).toThrow('holds 2000 bytes at most')
    session.set('a', 'x'.repeat(sessionBytesMax - 20))
    expect(() => session.set('b', 'x'.repeat(20))).toThrow('holds 2000 bytes at most')
  })
})

describe('the session of the platform', () => {
  it("has the visitor's language, which a component may change, and nothing else", () => {
    const global = new GlobalSession('en_US')
    expect([global.get('userLanguage'), global.get('user'), global.change()]).toEqual(['en_US', undefined, undefined])
    global.set('userLanguage', 'de-DE')
    expect([global.get('userLanguage'), global.change(), global.change()]).toEqual(['de_DE', 'de_DE', undefined])
    expect(() => global.set('userLanguage', '<b>')).toThrow('has to be a language')
    expect(() => global.set('user', 'ada')).toThrow('only userLanguage')
  })

  it('goes with that of the component', () => {
    const both = new CallSession('s1', { a: 1 }, 'en', true)
    expect(both.change()).toBeUndefined()
    both.all.set('userLanguage', 'de')
    expect(both.change()).toEqual({ set: {}, removed: [], language: 'de' })
    expect(new CallSession('s1', undefined, 'en', false).own).toEqual({ id: 's1' })
  })
})

describe('a component', () => {
  const files = {
    'meta.json': JSON.stringify({ id: 'news', version: '1.0', useSession: true, views: { index: {} } }),
    'client/templates/index.html': '{{n}} {{same}}',
    'server/data.js': `
      exports.index = (environment, callback, context, { session }) => {
        session.set('n', (session.get('n') || 0) + 1)
        callback(null, { n: session.get('n'), same: environment.session === session })
      }`,
    'server/controller/count.js': `
      exports.post = (request, response) => {
        request.session.set('by', request.body.by)
        request.globalSession.set('userLanguage', 'de')
        response.end(String(request.session.get('n')))
      }
      exports.add = (context, acknowledge, { session }) => { session.set('last', context); acknowledge(null, session.get('n')) }`,
  }

  it('that uses the session has its part in data functions, controllers and intents', async () => {
    const intents = [{ category: 'c', action: 'add', provider: 'count.js#add' }]
    const meta = JSON.stringify({ ...(JSON.parse(files['meta.json']) as object), intents })
    const { rendered, control } = await running({ ...files, 'meta.json': meta })
    expect(await rendered({ session: 's1', sessionData: { n: 4 } })).toMatchObject({
      html: '5 true',
      sessionChange: { set: { n: 5 } },
    })
    const body = Buffer.from('{"by":"ada"}')
    const request = { url: '/', query: {}, headers: { 'content-type': 'application/json' } }
    expect(await control('count', { verb: 'POST', body, request, sessionData: { n: 7 } })).toMatchObject({
      text: '7',
      sessionChange: { set: { by: 'ada' }, language: 'de' },
    })
    const intent = { category: 'c', action: 'add' }
    expect(await control('', { intent, body: Buffer.from('{"a":1}'), sessionData: { n: 8 } })).toMatchObject({
      text: '8',
      sessionChange: { set: { last: { a: 1 } } },
    })
  })

  it('that does not has the id alone', async () => {
    const { rendered } = await running({
      'meta.json': JSON.stringify({ id: 'news', version: '1.0', views: { index: {} } }),
      'client/templates/index.html': '{{{text}}}',
      'server/data.js': `exports.index = (environment, callback, context, { session }) =>
        callback(null, { text: JSON.stringify([session, environment.session, typeof session.set]) })`,
    })
    const { html, sessionChange } = await rendered({ session: 's1', sessionData: { secret: 1 } })
    expect([JSON.parse(html), sessionChange]).toEqual([[{ id: 's1' }, null, 'undefined'], undefined])
  })
})
