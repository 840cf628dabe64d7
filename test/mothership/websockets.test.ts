/** Websockets of a component, in a process of its own. */
import { describe, expect, it } from 'vitest'
import type { SocketCall } from '../../src/mothership/ipc.js'
import type { OpenSocket } from '../../src/mothership/process-sockets.js'
import { type Files, type RunningComponent, running } from '../support/component.js'
import { waitUntil } from '../support/etcd.js'

const files = (more: Files = {}): Files => ({
  'meta.json': JSON.stringify({ id: 'chat', version: '1.0' }),
  'locale/de/chat.po': 'msgid "Welcome"\nmsgstr "Willkommen"',
  'server/websockets/room.js': `
    function handle(socket) {
      const { component, session, environment, user, handshake } = socket
      socket.emit('hello', { text: t('Welcome'), component, session, language: environment.language, user, handshake })
      socket.on('shout', text => text.toUpperCase())
      socket.on('later', () => new Promise(resolve => setTimeout(() => resolve(t('Welcome')), 1)))
      socket.on('all', text => { socket.broadcast.emit('said', text) })
      socket.on('leave', () => { socket.disconnect() })
      socket.on('crash', () => process.exit(3))
      socket.on('throw', () => { throw new Error('no database') })
    }
    module.exports = { channel: '/room', handle }`,
  'server/websockets/deep/other.js':
    "exports.channel = 'dummy socket'; exports.handle = socket => socket.emit('other')",
  ...more,
})

interface Browser {
  readonly socket: OpenSocket
  readonly said: { event?: string; ack?: number; args: unknown[] }[]
  readonly closed: string[]
  readonly changes: object[]
}

async function opened(component: RunningComponent, call: Partial<SocketCall> = {}): Promise<Browser> {
  const said: Browser['said'] = []
  const closed: string[] = []
  const changes: object[] = []
  const socket = await component.process.open(
    { instance: 'chat.1', channel: 'room', session: 's1', locale: 'de', ...call },
    {
      onSaid: text => said.push(JSON.parse(text)),
      onSession: change => changes.push(change),
      onClosed: (code, reason) => closed.push(`${code} ${reason}`),
    },
    8_000,
  )
  if ('kind' in socket) throw new Error(`${socket.status}: ${socket.reason}`)
  return { socket, said, closed, changes }
}

describe('a channel', () => {
  it('has sockets with component, session, environment, user and request, in the language of who looks', async () => {
    const component = await running(files())
    const request = { url: '/chat/websockets/room?a=1', query: { a: '1' }, headers: { origin: 'x' } }
    const { said } = await opened(component, { request, user: { id: 'ada', permissions: ['talk'] } })
    await waitUntil('it is greeted', () => said.length > 0)
    expect(said[0]).toEqual({
      event: 'hello',
      args: [
        {
          text: 'Willkommen',
          component: { id: 'chat', version: '1.0' },
          session: { id: 's1' },
          language: 'de',
          user: { id: 'ada', username: 'ada', permissions: ['talk'] },
          handshake: request,
        },
      ],
    })
  })

  it('answers, reaches others, and goes on when a listener throws', async () => {
    const component = await running(files())
    const [one, two] = [await opened(component), await opened(component)]
    one.socket.hear('{"event":"throw","ack":1}')
    one.socket.hear('{"event":"shout","args":["hello"],"ack":2}')
    one.socket.hear('{"event":"later","ack":3}')
    one.socket.hear('{"event":"all","args":["hi"]}')
    await waitUntil('all is said', () => one.said.length === 4 && two.said.length === 2)
    expect(one.said.slice(1)).toEqual([
      { ack: 1, args: ['no database'] },
      { ack: 2, args: [null, 'HELLO'] },
      { ack: 3, args: [null, 'Willkommen'] },
    ])
    expect(two.said[1]).toEqual({ event: 'said', args: ['hi'] })
  })

  it('may be deep, in an ES module, and have blanks in its name', async () => {
    const component = await running(
      files({
        'package.json': '{}',
        'server/websockets/module.js':
          "export default { channel: 'module', handle: socket => { socket.emit('from a module') } }",
      }),
    )
    const browsers = [
      await opened(component, { channel: 'dummy socket' }),
      await opened(component, { channel: 'module' }),
    ]
    await waitUntil('both speak', () => browsers.every(each => each.said.length === 1))
    expect(browsers.map(each => each.said[0]?.event)).toEqual(['other', 'from a module'])
  })

  it('that is not there is 404; one that needs a permission 401', async () => {
    const meta = JSON.stringify({ id: 'chat', version: '1.0', permissions: ['talk'] })
    const component = await running(files({ 'meta.json': meta }))
    await expect(opened(component, { channel: 'nowhere' })).rejects.toThrow('404: chat has no channel nowhere')
    await expect(opened(component)).rejects.toThrow('401: needs the permission talk')
  })

  it.each([
    ['no channel', 'exports.handle = () => {}'],
    ['no function', "exports.channel = 'a'"],
  ])('of a file with %s makes the package unfit', async (_name, code) => {
    await expect(running(files({ 'server/websockets/wrong.js': code }))).rejects.toThrow(
      'server/websockets/wrong.js: has to export',
    )
  })

  it("is passed over in a container, as RAIN's", async () => {
    const meta = JSON.stringify({ id: 'chat', version: '1.0', type: 'container' })
    const component = await running(files({ 'meta.json': meta }))
    await expect(opened(component)).rejects.toThrow('404')
  })
})

describe('the session of a socket', () => {
  it('is saved after each listener, before what it acknowledges', async () => {
    const component = await running(
      files({
        'meta.json': JSON.stringify({ id: 'chat', version: '1.0', useSession: true }),
        'server/websockets/room.js': `
          exports.channel = 'room'
          exports.handle = socket => {
            socket.session.set('opened', true)
            socket.on('count', () => { socket.session.set('n', (socket.session.get('n') || 0) + 1); return socket.session.get('n') })
            socket.on('look', () => socket.session.get('n'))
          }`,
      }),
    )
    const { socket, said, changes } = await opened(component, { sessionData: { n: 4 } })
    socket.hear('{"event":"count","ack":1}')
    socket.hear('{"event":"look","ack":2}')
    await waitUntil('it has looked', () => said.length === 2)
    expect(said.map(each => each.args)).toEqual([
      [null, 5],
      [null, 5],
    ])
    expect(changes).toEqual([
      { cleared: false, set: { opened: true }, removed: [] },
      { cleared: false, set: { n: 5 }, removed: [] },
    ])
  })
})

describe('a socket', () => {
  it('is closed by its component, for what is no message, and when the process ends or stops', async () => {
    const component = await running(files())
    const left = await opened(component)
    left.socket.hear('{"event":"leave"}')
    const wrong = await opened(component)
    wrong.socket.hear('what?')
    await waitUntil('both are closed', () => left.closed.length + wrong.closed.length === 2)
    expect([left.closed, wrong.closed]).toEqual([['1000 closed by the component'], ['1007 a message has to be JSON']])

    const crashed = [await opened(component), await opened(component)]
    crashed[0]!.socket.hear('{"event":"crash"}')
    await waitUntil('the crash is told', () => crashed.every(each => each.closed.length === 1))
    expect(crashed[1]!.closed).toEqual(['1012 the process of the component ended'])

    await waitUntil('it is back', () => component.process.state.kind === 'ready')
    const stopped = await opened(component)
    await component.process.stop()
    expect(stopped.closed).toEqual(['1012 the component is stopped'])
  })

  it('that its browser has closed is told to its component, and hears nothing any more', async () => {
    const component = await running(
      files({
        'server/websockets/room.js': `
          let left = 0
          exports.channel = 'room'
          exports.handle = socket => {
            socket.on('disconnect', () => { left++ })
            socket.on('left', () => left)
          }`,
      }),
    )
    const [gone, here] = [await opened(component), await opened(component)]
    gone.socket.close()
    gone.socket.hear('{"event":"left","ack":1}')
    here.socket.hear('{"event":"left","ack":1}')
    await waitUntil('it is answered', () => here.said.length === 1)
    expect([here.said, gone.said, gone.closed]).toEqual([[{ ack: 1, args: [null, 1] }], [], []])
  })
})
