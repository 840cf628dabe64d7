/** Which sockets a mothership holds, and over which link, with processes and links that a test makes up. */
import { describe, expect, it } from 'vitest'
import type { Failed } from '../../src/mothership/component-process.js'
import type { Runner } from '../../src/mothership/instances.js'
import { LinkSockets } from '../../src/mothership/link-sockets.js'
import { type OpenSocket, ProcessSockets, type SocketEvents } from '../../src/mothership/process-sockets.js'
import { Sockets } from '../../src/mothership/sockets.js'
import type { Message, MessageOf } from '../../src/protocol/messages.js'

const failed: Failed = { kind: 'failed', status: 503, reason: 'not running yet' }

interface Made {
  readonly events: SocketEvents
  readonly heard: string[]
}

function runnerOf(made: Made[]): Runner {
  const open: Runner['open'] = async (_call, events) => {
    const heard: string[] = []
    made.push({ events, heard })
    return { hear: text => heard.push(text), close: () => heard.push('closed') }
  }
  return { open } as Runner
}

function browser(): SocketEvents & { readonly told: string[] } {
  const told: string[] = []
  return {
    told,
    onSaid: text => told.push(text),
    onSession: change => told.push(JSON.stringify(change)),
    onClosed: (code, reason) => told.push(`${code} ${reason}`),
  }
}
const call = { instance: 'chat.1', channel: 'room' }

describe('the sockets of a mothership', () => {
  it('are closed, on both ends, when another process serves their instance, and the others stay', async () => {
    const made: Made[] = []
    const [first, second] = [runnerOf(made), runnerOf(made)]
    const serving = new Map<string, Runner>([
      ['chat.1', first],
      ['chat.2', first],
    ])
    const sockets = new Sockets(instance => serving.get(instance) ?? failed)
    const [one, two] = [browser(), browser()]
    await sockets.open(call, one, 1_000)
    await sockets.open({ ...call, instance: 'chat.2' }, two, 1_000)
    sockets.sweep()
    expect(sockets.count).toBe(2)

    serving.set('chat.1', second)
    sockets.sweep()
    expect([one.told, two.told, made.map(each => each.heard)]).toEqual([
      ['1012 the instance is served elsewhere now'],
      [],
      [['closed'], []],
    ])
    serving.delete('chat.2')
    sockets.sweep()
    expect([two.told, sockets.count]).toEqual([['1012 the instance is served elsewhere now'], 0])
  })

  it('are not opened where the instance is not', async () => {
    const sockets = new Sockets(() => failed)
    expect(await sockets.open(call, browser(), 1_000)).toBe(failed)
  })

  it('are forgotten when their component closes them', async () => {
    const made: Made[] = []
    const runner = runnerOf(made)
    const sockets = new Sockets(() => runner)
    const one = browser()
    await sockets.open(call, one, 1_000)
    made[0]!.events.onClosed(1000, 'done')
    expect([one.told, sockets.count]).toEqual([['1000 done'], 0])
  })
})

const asked = (r: number): MessageOf<'socket'> => ({
  t: 'socket',
  r,
  component: 'chat',
  version: '1.0.0',
  instance: 'chat.1',
  channel: 'room',
  deadlineMs: 1_000,
})

interface Line {
  readonly link: LinkSockets
  readonly sent: Message[]
  readonly events: SocketEvents[]
  readonly heard: string[]
  overloaded: boolean
  answer: (socket: OpenSocket, events: SocketEvents) => Promise<OpenSocket | Failed>
}

function line(): Line {
  const sent: Message[] = []
  const events: SocketEvents[] = []
  const heard: string[] = []
  const socket: OpenSocket = { hear: text => heard.push(text), close: () => heard.push('closed') }
  const one: Omit<Line, 'link'> = { sent, events, heard, overloaded: false, answer: async each => each }
  const link = new LinkSockets({
    open: (_message, each) => {
      events.push(each)
      return made.answer(socket, each)
    },
    send: message => sent.push(message),
    overloaded: () => made.overloaded,
  })
  const made: Line = Object.assign(one, { link })
  return made
}

describe('the sockets of a link', () => {
  it('say that they are open before anything that the component says', async () => {
    const made = line()
    made.answer = async (socket, events) => {
      events.onSaid('early')
      return socket
    }
    await made.link.onMessage(asked(1))
    made.events[0]!.onSaid('later')
    made.events[0]!.onSession({ set: { a: 1 }, removed: [] })
    await made.link.onMessage({ t: 'socket-data', r: 1, text: 'heard' })
    expect(made.sent).toEqual([
      { t: 'socket-open', r: 1 },
      { t: 'socket-data', r: 1, text: 'early' },
      { t: 'socket-data', r: 1, text: 'later' },
      { t: 'socket-session', r: 1, change: { set: { a: 1 }, removed: [] } },
    ])
    expect(made.heard).toEqual(['heard'])
  })

  it('end with their link, or when the rain server says so, also while they are being opened', async () => {
    const made = line()
    await made.link.onMessage(asked(1))
    await made.link.onMessage({ t: 'socket-close', r: 1, code: 1001, reason: '' })
    expect(made.heard).toEqual(['closed'])
    await made.link.onMessage(asked(2))
    made.link.endAll()
    expect(made.heard).toEqual(['closed', 'closed'])

    made.answer = async socket => {
      made.link.end(3)
      return socket
    }
    await made.link.onMessage(asked(3))
    expect(made.heard).toEqual(['closed', 'closed', 'closed'])
    expect(made.sent.filter(each => 'r' in each && each.r === 3)).toEqual([])
  })

  it('are closed by their component, also at once', async () => {
    const made = line()
    made.answer = async (socket, events) => {
      events.onClosed(1000, 'not today')
      return socket
    }
    await made.link.onMessage(asked(1))
    expect(made.sent).toEqual([
      { t: 'socket-open', r: 1 },
      { t: 'socket-close', r: 1, code: 1000, reason: 'not today' },
    ])
  })

  it('are closed rather than that pages suffer, when what is sent is not fetched', async () => {
    const made = line()
    await made.link.onMessage(asked(1))
    made.overloaded = true
    made.events[0]!.onSaid('much')
    made.events[0]!.onSaid('more')
    expect(made.sent.slice(1)).toEqual([{ t: 'socket-close', r: 1, code: 1013, reason: expect.any(String) }])
    expect(made.heard).toEqual(['closed'])
  })

  it('that are refused say why', async () => {
    const made = line()
    made.answer = async () => failed
    await made.link.onMessage(asked(1))
    expect(made.sent).toEqual([{ t: 'failed', r: 1, status: 503, reason: 'not running yet' }])
  })
})

describe('what goes into a process', () => {
  it('is bounded: who sends faster than it hears is closed', () => {
    const told: string[] = []
    const sockets = new ProcessSockets(message => told.push(message.k))
    const one = browser()
    sockets.expect(1, one)
    const socket = sockets.opened(1)
    for (let i = 0; i < 200; i++) socket.hear('x'.repeat(64 * 1024))
    expect(one.told).toEqual(['1013 the component is slower than what is sent to it'])
    expect(told.filter(each => each === 'hear').length).toBeLessThan(80)
    expect([told.at(-1), sockets.count]).toEqual(['close', 0])
  })
})
