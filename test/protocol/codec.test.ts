import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { describe, expect, it } from 'vitest'
import { decode, decodeList, encode, encodeSeveral, severalBytes } from '../../src/protocol/codec.js'
import { frameBytesMax, type MessageOf, type MessageType, messages } from '../../src/protocol/messages.js'

const plain = new Packr({ useRecords: false })
const frame = (value: unknown): Uint8Array => plain.pack(value)
const bytes = (...parts: readonly (number | string)[]): Buffer =>
  Buffer.concat(parts.map(part => (typeof part === 'number' ? Buffer.from([part]) : Buffer.from(part))))

/** One right message of each type, with every optional field. */
const examples: { [T in MessageType]: MessageOf<T> } = {
  hello: {
    t: 'hello',
    kind: 'mothership',
    id: 'm1',
    address: 'ws://m1:1',
    metrics: 'http://m1:2/metrics',
    capacity: { cpu: 1000, ram: 512.5, bandwidth: 0 },
    urls: ['/*'],
    zone: 'a',
    labels: { disk: 'ssd' },
    software: '0.1.0',
    o: [1, 7],
    runs: [{ instance: 'news.1', epoch: 1, generation: 0, phase: 'failed', reason: 'it did not start' }],
  },
  welcome: {
    t: 'welcome',
    session: 12,
    replicas: [{ id: 'h1', url: 'http://h1:1' }],
    o: [1, 12],
    staleForMs: 0.5,
    pingMs: 1000,
    reconnectWithinMs: 4,
    answersLoads: true,
  },
  wanted: { t: 'wanted', o: [1, 12], base: [1, 11], put: { 'instances/news.1': { epoch: 1 } }, gone: ['keys'] },
  hint: { t: 'hint', weights: { r1: 0.5 } },
  applied: { t: 'applied', o: [1, 12], refused: [{ key: 'keys', reason: 'no' }] },
  observed: { t: 'observed', items: [{ instance: 'news.1', epoch: 1, generation: 2, phase: 'running' }] },
  load: {
    t: 'load',
    cpu: 1,
    ram: 2,
    bandwidth: { in: 3, out: 4 },
    windowMs: 1000,
    components: {
      'news/1.0.0': {
        calls: 9,
        errors: 1,
        timeouts: 0,
        restarts: 0,
        cpu: 1.5,
        ram: 2,
        bandwidth: 3,
        latency: [1, 2, 3],
      },
    },
  },
  replicas: { t: 'replicas', replicas: [] },
  bye: { t: 'bye', code: 'going-away', reconnect: true, reason: 'it is late' },
  error: { t: 'error', about: 'surprise', message: 'unknown type' },
  render: {
    t: 'render',
    r: 1,
    instance: 'news.1',
    view: 'index',
    context: { deep: { list: [1, 'two', null, true] } },
    session: 's',
    user: { id: 'ann', permissions: ['read'] },
    locale: 'de',
    request: { url: '/news', query: { q: ['a', 'b'] }, headers: { accept: 'text/html' } },
    deadlineMs: 900,
  },
  fragment: {
    t: 'fragment',
    r: 1,
    instance: 'news.1',
    mothership: 'm1',
    html: '<p>grüße</p>',
    css: ['a.css'],
    js: [],
    title: 'News',
    context: {},
    children: [
      {
        id: 'c1',
        component: 'ads',
        version: '1',
        view: 'box',
        context: {},
        sid: 's',
        placeholder: true,
        required: false,
        at: 3,
      },
    ],
  },
  renders: {
    t: 'renders',
    list: [
      { r: 2, instance: 'news.1', view: 'index', context: {}, deadlineMs: 900 },
      { r: 3, instance: 'ads.1', view: 'box', context: { n: 1 }, sessionData: { own: {} }, deadlineMs: 800 },
    ],
    session: 's',
    request: { url: '/news', query: {}, headers: {} },
  },
  takes: { t: 'takes', renders: true },
  several: { t: 'several', list: [{ t: 'cancel', r: 1 }] },
  failed: { t: 'failed', r: 1, status: 503, reason: 'not here' },
  credit: { t: 'credit', bytes: 1000 },
  cancel: { t: 'cancel', r: 1 },
  socket: {
    t: 'socket',
    r: 4,
    component: 'chat',
    version: '1.0.0',
    instance: 'chat.1',
    channel: 'room',
    session: 's',
    deadlineMs: 500,
  },
  'socket-open': { t: 'socket-open', r: 4 },
  'socket-data': { t: 'socket-data', r: 4, text: '{"event":"hello"}' },
  'socket-session': { t: 'socket-session', r: 4, change: { set: { a: 1 }, removed: ['b'], language: 'de' } },
  'socket-close': { t: 'socket-close', r: 4, code: 1012, reason: 'moved' },
  call: {
    t: 'call',
    r: 2,
    kind: 'controller',
    component: 'news',
    version: '1.0.0',
    path: 'vote',
    instance: 'news.1',
    verb: 'POST',
    body: Buffer.from([1, 2, 3]),
    deadlineMs: 1000,
  },
  answer: { t: 'answer', r: 2, status: 200, headers: { 'content-type': 'text/plain' }, body: 'ok' },
  peer: { t: 'peer', id: 'h1', url: 'http://h1:1', incarnation: 'abc' },
  forward: { t: 'forward', r: 1, envelope: { requestId: 'x' }, deadlineMs: 1500 },
  done: { t: 'done', r: 1, answer: { outcome: 'created' } },
  'not-leader': { t: 'not-leader', r: 1, who: null },
  problem: { t: 'problem', r: 1, code: 'conflict', message: 'no', details: { retryAfterS: 1 } },
  loads: { t: 'loads', nodes: [{ kind: 'mothership', id: 'm1', cpu: 1, ram: 2, bandwidth: 3, ageMs: 250 }] },
  alive: { t: 'alive' },
  suspect: { t: 'suspect', r: 1, replica: 'h1', incarnation: 'abc', term: 7 },
  agree: { t: 'agree', r: 1 },
  deny: { t: 'deny', r: 1 },
  yield: { t: 'yield', term: 7 },
}

describe('the codec', () => {
  for (const type of Object.keys(messages) as MessageType[]) {
    it(`carries ${type} there and back`, () => {
      expect(decode(encode(examples[type]))).toEqual({ kind: 'message', message: examples[type] })
    })

    it(`lets fields of a newer release pass in ${type}`, () => {
      const newer = Object.assign({ fieldOfTomorrow: { some: 'thing' } }, examples[type])
      expect(decode(encode(newer))).toMatchObject({ kind: 'message', message: { t: type } })
    })
  }

  it('refuses a message of each type whose required fields are missing', () => {
    const bare = (Object.keys(messages) as MessageType[]).filter(type => decode(frame({ t: type })).kind === 'message')
    expect(bare).toEqual(['alive'])
  })

  it('names the first field that is wrong', () => {
    const wrong = frame({ ...examples.load, bandwidth: { in: -1, out: 0 } })
    expect(decode(wrong)).toMatchObject({ kind: 'invalid', reason: expect.stringContaining('load/bandwidth/in') })
  })

  it.each([
    ['NaN', Number.NaN],
    ['Infinity', Number.POSITIVE_INFINITY],
    ['a negative', -1],
    ['text', '1'],
    ['null', null],
  ])('refuses %s where an amount belongs', (_name, cpu) => {
    expect(decode(frame({ ...examples.load, cpu })).kind).toBe('invalid')
  })

  it('says unknown of a type that it does not know, cut short, whatever its fields', () => {
    expect(decode(frame({ t: 'teleport', to: 'mars' }))).toEqual({ kind: 'unknown', type: 'teleport' })
    expect(decode(frame({ t: 'x'.repeat(1000) }))).toEqual({ kind: 'unknown', type: 'x'.repeat(64) })
  })

  it.each(['__proto__', 'constructor', 'toString', 'hasOwnProperty'])('takes %s for no type that it knows', t => {
    expect(decode(frame({ t }))).toEqual({ kind: 'unknown', type: t })
  })

  it.each([
    ['nothing', Buffer.alloc(0), 'not MessagePack'],
    ['text', Buffer.from('{"t":"alive"}'), 'not MessagePack'],
    ['two values', bytes(0x80, 0x80), 'not MessagePack'],
    ['a cut off map', bytes(0x82, 0xa1, 't'), 'not MessagePack'],
    ['an array', frame([{ t: 'alive' }]), 'not a map'],
    ['null', frame(null), 'not a map'],
    ['a number', frame(7), 'not a map'],
    ['a map without type', frame({ type: 'alive' }), 'no type `t`'],
    ['a type that is no text', frame({ t: 1 }), 'no type `t`'],
  ])('refuses %s', (_name, given, reason) => {
    expect(decode(given)).toEqual({ kind: 'invalid', reason })
  })

  it('refuses a frame of one byte too many, and takes the largest', () => {
    const around = encode({ ...examples.fragment, html: '' }).byteLength + 4 // the header of a long text
    const html = 'x'.repeat(frameBytesMax - around)
    const largest = encode({ ...examples.fragment, html })
    expect(largest.byteLength).toBeLessThanOrEqual(frameBytesMax)
    expect(decode(largest).kind).toBe('message')

    const tooLarge = encode({ ...examples.fragment, html: 'x'.repeat(frameBytesMax) })
    expect(decode(tooLarge)).toEqual({ kind: 'invalid', reason: `frame of ${tooLarge.byteLength} bytes` })
  })

  it('refuses lengths that the frame cannot hold, and nesting without end, without dying of them', () => {
    const arrays = Buffer.concat(Array.from({ length: 200_000 }, () => bytes(0xdd, 0, 0x0f, 0xff, 0xff)))
    expect(decode(arrays).kind).toBe('invalid')
    expect(decode(bytes(0xdf, 0xff, 0xff, 0xff, 0xff)).kind).toBe('invalid')
    expect(decode(bytes(0xdb, 0xff, 0xff, 0xff, 0xff)).kind).toBe('invalid')
    expect(decode(Buffer.alloc(frameBytesMax, 0x91)).kind).toBe('invalid')
    expect(decode(Buffer.alloc(frameBytesMax, 0x81)).kind).toBe('invalid')
    expect(decode(encode({ t: 'alive' })).kind).toBe('message')
  })

  it('lets no `__proto__` key change what an object is', () => {
    const put = bytes(0xa3, 'put', 0x81, 0xa9, '__proto__', 0x81, 0xa8, 'polluted', 0xc3)
    const whole = bytes(0x86, 0xa1, 't', 0xa6, 'wanted', 0xa1, 'o', 0x92, 1, 1, 0xa4, 'base', 0xc0, 0xa4, 'gone', 0x90)
    const decoded = decode(Buffer.concat([whole, put, bytes(0xa9, '__proto__', 0x81, 0xa4, 'evil', 0xc3)]))

    expect(decoded.kind).toBe('message')
    const { message } = decoded as { message: MessageOf<'wanted'> }
    expect(Object.getPrototypeOf(message)).toBe(Object.prototype)
    expect(Object.getPrototypeOf(message.put)).toBe(Object.prototype)
    expect('evil' in message || 'polluted' in message.put).toBe(false)
    expect(({} as { polluted?: true }).polluted).toBeUndefined()
  })

  it('reads plain data only: nothing that JSON cannot say again', () => {
    const render = (value: readonly (number | string)[]): Uint8Array =>
      Buffer.concat([
        bytes(0x86, 0xa1, 't', 0xa6, 'render', 0xa1, 'r', 1, 0xa8, 'instance', 0xa1, 'i', 0xa4, 'view', 0xa1, 'v'),
        bytes(0xaa, 'deadlineMs', 1, 0xa7, 'context', 0x81, 0xa1, 'c', ...value),
      ])
    const values = {
      plain: [1],
      'a number of 64 bits': [0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
      'a negative number of 64 bits': [0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0],
      'a map that holds itself': [0xd6, 0x69, 0, 0, 0, 1, 0x81, 0xa1, 'a', 0xd6, 0x70, 0, 0, 0, 1],
      'an array that holds itself': [0xd6, 0x69, 0, 0, 0, 2, 0x91, 0xd6, 0x70, 0, 0, 0, 2],
    }
    for (const [name, value] of Object.entries(values)) {
      const decoded = decode(render(value))
      expect(() => JSON.stringify(decoded), name).not.toThrow()
    }
    expect(decode(render(values.plain)).kind).toBe('message')
    expect(decode(render(values['a number of 64 bits']))).toMatchObject({ message: { context: { c: 2 ** 64 } } })
    expect(decode(render(values['a map that holds itself'])).kind).toBe('invalid')
    expect(decode(render(values['an array that holds itself'])).kind).toBe('invalid')
  })

  it('puts frames into one as they are, and finds each again with what is wrong with it', () => {
    const all = Object.values(examples)
    const joined = encodeSeveral([
      ...all.map(encode),
      frame({ t: 'surprise' }),
      frame({ t: 'cancel', r: -1 }),
      frame(7),
    ])
    const decoded = decode(joined)
    if (decoded.kind !== 'message' || decoded.message.t !== 'several') throw new Error(decoded.kind)
    const within = decodeList(decoded.message)

    expect(joined.byteLength).toBeLessThanOrEqual(
      severalBytes + all.reduce((sum, each) => sum + encode(each).byteLength, 100),
    )
    expect(within.slice(0, all.length)).toEqual(all.map(message => ({ kind: 'message', message })))
    expect(within.slice(all.length)).toEqual([
      { kind: 'unknown', type: 'surprise' },
      { kind: 'invalid', reason: expect.stringContaining('cancel/r') },
      { kind: 'invalid', reason: 'not a map' },
    ])
    expect(decode(encodeSeveral([]))).toEqual({ kind: 'message', message: { t: 'several', list: [] } })
  })

  it('never throws, and passes only what its schema allows, whatever bytes come', () => {
    const anyBytes = fc.uint8Array({ maxLength: 200 })
    const anyValue = fc.anything({ withDate: true, withMap: true, withSet: true, withSparseArray: true })
    const halfRight = fc
      .tuple(fc.constantFrom(...Object.values(examples)), fc.constantFrom('id', 'o', 'r', 'nodes', 'items'), anyValue)
      .map(([message, field, value]) => frame({ ...message, [field]: value }))
    const bent = fc
      .tuple(fc.constantFrom(...Object.values(examples)), fc.nat(), fc.nat({ max: 255 }))
      .map(([message, at, byte]) => {
        const copy = Uint8Array.from(encode(message))
        copy[at % copy.length] = byte
        return copy
      })
    fc.assert(
      fc.property(fc.oneof(anyBytes, halfRight, bent, anyValue.map(frame)), given => {
        const decoded = decode(given)
        if (decoded.kind !== 'message') return
        expect(Object.hasOwn(messages, decoded.message.t)).toBe(true)
        // What one end takes for a message, the other end takes too.
        expect(decode(encode(decoded.message)).kind).toBe('message')
        expect(() => JSON.stringify(decoded.message)).not.toThrow()
      }),
      { numRuns: 5_000 },
    )
    expect(Object.keys(Object.prototype)).toEqual([])
  })
})
