import { describe, expect, it } from 'vitest'
import { ComponentSocket } from '../../src/mothership/component-socket.js'
import { socketTextBytesMax } from '../../src/protocol/socket-text.js'

interface Opened {
  readonly socket: ComponentSocket
  readonly said: string[]
  readonly closed: string[]
  readonly broken: string[]
}

function opened(all: ComponentSocket[] = []): Opened {
  const said: string[] = []
  const closed: string[] = []
  const broken: string[] = []
  const socket = new ComponentSocket('1', {
    say: text => said.push(text),
    close: (code, reason) => {
      closed.push(`${code} ${reason}`)
      socket.closed(reason)
    },
    run: async code => code(),
    broken: (event, error) => broken.push(`${event}: ${error}`),
    all: () => all,
  })
  all.push(socket)
  return { socket, said, closed, broken }
}

const settled = (): Promise<void> => new Promise(resolve => setImmediate(resolve))

describe("a component's socket", () => {
  it('says and hears events with their arguments', async () => {
    const { socket, said } = opened()
    const heard: unknown[] = []
    socket.on('said', (...args) => heard.push(args)).once('said', (...args) => heard.push(['once', ...args]))
    socket.heard('{"event":"said","args":["a",{"b":1}]}')
    await settled()
    socket.heard('{"event":"said"}')
    socket.heard('{"event":"unheard","args":[1]}')
    await settled()
    socket.emit('hello', { to: 'you' }, 2).send('plain')

    expect(heard).toEqual([['a', { b: 1 }], ['once', 'a', { b: 1 }], []])
    expect(said.map(each => JSON.parse(each))).toEqual([
      { event: 'hello', args: [{ to: 'you' }, 2] },
      { event: 'message', args: ['plain'] },
    ])
  })

  it('acknowledges with what a listener returns or promises, or with why it failed', async () => {
    const { socket, said, broken } = opened()
    socket.on('add', async (a, b) => Number(a) + Number(b))
    socket.on('fail', () => {
      throw new Error('no database')
    })
    socket.heard('{"event":"add","args":[1,2],"ack":7}')
    await settled()
    socket.heard('{"event":"fail","ack":8}')
    await settled()
    socket.heard('{"event":"fail"}')
    socket.heard('{"event":"unheard","ack":9}')
    await settled()

    expect(said.map(each => JSON.parse(each))).toEqual([
      { ack: 7, args: [null, 3] },
      { ack: 8, args: ['no database'] },
      { ack: 9, args: [null, null] },
    ])
    expect(broken).toEqual(['fail: Error: no database', 'fail: Error: no database'])
  })

  it('is told what the browser acknowledges, once', async () => {
    const { socket, said } = opened()
    const heard: unknown[] = []
    socket.emit('ask', 1, (...args: unknown[]) => heard.push(args))
    const { ack } = JSON.parse(said[0]!) as { ack: number }
    socket.heard(JSON.stringify({ ack, args: ['yes'] }))
    socket.heard(JSON.stringify({ ack, args: ['again'] }))
    await settled()
    expect(heard).toEqual([['yes']])
  })

  it('reaches the others on its channel', () => {
    const all: ComponentSocket[] = []
    const [one, two, three] = [opened(all), opened(all), opened(all)]
    one.socket.broadcast.emit('joined', 'Ada')
    expect([one.said.length, two.said, three.said]).toEqual([0, ['{"event":"joined","args":["Ada"]}'], two.said])
  })

  it('tells its component once that it is closed, and says nothing after that', async () => {
    const { socket, said, closed } = opened()
    const heard: unknown[] = []
    socket.on('disconnect', reason => heard.push(reason))
    socket.disconnect().disconnect()
    socket.closed('again')
    socket.emit('too late')
    await settled()
    expect([closed, heard, said, socket.connected]).toEqual([
      ['1000 closed by the component'],
      ['closed by the component'],
      [],
      false,
    ])
  })

  it.each([
    ['no JSON', '{'],
    ['no message', 'null'],
    ['no event', '{"args":[]}'],
    ['arguments that are no list', '{"event":"a","args":{}}'],
    ['an event that is its own', '{"event":"disconnect"}'],
    ['an event that is no text', '{"event":{}}'],
  ])('is closed for %s', (_name, text) => {
    const { socket, closed } = opened()
    socket.heard(text)
    expect(closed).toEqual([expect.stringMatching(/^1007 /)])
  })

  it('refuses what is too large', () => {
    const { socket, said } = opened()
    expect(() => socket.emit('big', 'ü'.repeat(socketTextBytesMax / 2))).toThrow('more than 65536 bytes')
    expect(said).toEqual([])
  })
})
