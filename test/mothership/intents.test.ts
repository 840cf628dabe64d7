/** Intents that code of the server answers, in a process of its own. */
import { describe, expect, it } from 'vitest'
import type { ControlCall } from '../../src/mothership/ipc.js'
import { type Files, running } from '../support/component.js'

const intents = ['tell', 'back', 'later', 'quiet', 'fail', 'refuse', 'never'].map(method => ({
  category: 'com.news',
  action: method,
  provider: `deep/news.js#${method}`,
}))
const files: Files = {
  'meta.json': JSON.stringify({
    id: 'news',
    version: '1.0',
    intents: [...intents, { ...intents[0], action: 'denied', permissions: ['write'] }],
  }),
  'locale/de/a.po': 'msgid "Done"\nmsgstr "Fertig"',
  'server/controller/deep/news.js': `
    exports.tell = (context, acknowledge, { session, type }) =>
      setTimeout(() => acknowledge(null, { got: context, session: session.id, type, said: t('Done') }), 1)
    exports.back = context => ({ back: context })
    exports.later = async context => context.n * 2
    exports.quiet = () => {}
    exports.fail = () => { throw new Error('no database') }
    exports.refuse = (context, acknowledge) => acknowledge(new Error('not today'))
    exports.never = (context, acknowledge) => {}`,
}

const send = (action: string, context: object = {}, more: Partial<ControlCall> = {}): Partial<ControlCall> => ({
  intent: { category: 'com.news', action },
  verb: 'POST',
  body: Buffer.from(JSON.stringify(context)),
  ...more,
})

describe('an intent', () => {
  it('is answered by acknowledging, by returning, or by a promise', async () => {
    const { control } = await running(files)
    const told = await control('', send('tell', { a: 1 }, { session: 's1', locale: 'de' }))
    expect(JSON.parse(told.text)).toEqual({ got: { a: 1 }, session: 's1', type: 'http', said: 'Fertig' })
    expect(JSON.parse((await control('', send('back', { a: 1 }))).text)).toEqual({ back: { a: 1 } })
    expect((await control('', send('later', { n: 21 }))).text).toBe('42')
    expect((await control('', send('quiet'))).text).toBe('null')
  })

  it('that throws, or is refused by its code, fails with why', async () => {
    const { control } = await running(files)
    await expect(control('', send('fail'))).rejects.toThrow('500: no database')
    await expect(control('', send('refuse'))).rejects.toThrow('500: not today')
    await expect(control('', send('unheard'))).rejects.toThrow('404: news has no intent com.news unheard')
  })

  it('that is never answered hits the deadline', async () => {
    const { process } = await running(files)
    const call = { instance: 'news.1', name: '', verb: 'POST', ...send('never') }
    expect(await process.control(call as ControlCall, 100)).toMatchObject({ kind: 'failed', status: 504 })
  })

  it('needs its permissions', async () => {
    const { control } = await running(files)
    await expect(control('', send('denied'))).rejects.toThrow('401: needs the permission write')
    const user = { id: 'ada', permissions: ['write'] }
    expect(JSON.parse((await control('', send('denied', {}, { user }))).text)).toMatchObject({ got: {} })
  })

  it('whose function is missing makes the package unfit', async () => {
    const broken = { ...files, 'server/controller/deep/news.js': 'exports.tell = 1' }
    await expect(running(broken)).rejects.toThrow('server/controller/deep/news.js#tell is no function')
  })
})
