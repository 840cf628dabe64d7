/**
 * A process with very many nodes, as light as they can be: a websocket each, which says hello where that is asked for,
 * then pings every second, with a load report in the same packet, as `sdk/` sends it. They take turns over the second.
 */
import type { Socket } from 'node:net'
import WebSocket from 'ws'
import { decode, encode } from '../../src/protocol/codec.js'
import { nodePath, replicaFrameBytesMax, subprotocol } from '../../src/protocol/messages.js'
import { nodeId, secretOf } from './names.js'

export interface Order {
  readonly do: 'connect' | 'beat' | 'count'
  /** Whether loads go along. */
  readonly loads?: boolean
}

export interface Count {
  /** With their greeting (the replica: welcome and wanted state). */
  readonly greeted: number
  readonly open: number
  /** Closed by the other side, and connected again. */
  readonly lost: number
  readonly pongs: number
  readonly welcomeBytes: number
  readonly wantedBytes: number
}

interface Node {
  readonly socket: WebSocket
  raw: Socket | undefined
}

const [url = '', what = '', count = '0'] = process.argv.slice(2)
const atOnce = 100
const ticksPerSecond = 100
const nodes: Node[] = []
const counts = { greeted: 0, lost: 0, pongs: 0, welcomeBytes: 0, wantedBytes: 0 }

/** Ports of one address would not do for more than twenty thousand. */
const addressOf = (i: number): string => `127.0.0.${2 + (i % 8)}`

function connect(i: number): Promise<void> {
  return new Promise(resolve => {
    const asNode = what === 'replica'
    const socket = new WebSocket(url.replace(/^http/, 'ws') + (asNode ? nodePath : '/'), asNode ? subprotocol : [], {
      headers: { authorization: `Bearer ${secretOf(i)}` },
      perMessageDeflate: false,
      maxPayload: replicaFrameBytesMax,
      localAddress: addressOf(i),
    })
    const node: Node = { socket, raw: undefined }
    nodes[i] = node
    let frames = 0
    const onFrame = (data: Buffer): void => {
      if (asNode) noteSize(data)
      // A good-bye is followed by the end, and another attempt.
      if (++frames !== 2) return
      counts.greeted++
      resolve()
    }
    socket.on('upgrade', response => (node.raw = response.socket))
    socket.on('open', () => asNode && socket.send(hello(i)))
    socket.on('message', data => onFrame(data as Buffer))
    socket.on('pong', () => counts.pongs++)
    socket.on('error', () => undefined) // its end follows
    socket.on('close', () => {
      counts.lost++
      setTimeout(() => void connect(i).then(resolve), 500 + 500 * Math.random())
    })
  })
}

const hello = (i: number): Uint8Array =>
  encode({
    t: 'hello',
    kind: 'rainserver',
    id: nodeId(i),
    address: `http://127.0.0.1:${1 + (i % 60_000)}`,
    urls: ['/*'],
  })

function noteSize(data: Buffer): void {
  const decoded = decode(data, replicaFrameBytesMax)
  if (decoded.kind !== 'message') throw new Error('a frame that is none')
  if (decoded.message.t === 'welcome') counts.welcomeBytes = data.byteLength
  else if (decoded.message.t === 'wanted') counts.wantedBytes = data.byteLength
  // After a good-bye the replica ends the connection, and another one is made.
  else if (decoded.message.t !== 'bye') throw new Error(`the replica said ${JSON.stringify(decoded.message)}`)
}

const load = (i: number): Uint8Array =>
  encode({ t: 'load', cpu: 12.5 + (i % 7), ram: 81.25, bandwidth: { in: 3.5, out: 41.25 }, windowMs: 1_000 })

function beat(i: number, loads: boolean): void {
  const { socket, raw } = nodes[i] ?? {}
  if (socket?.readyState !== WebSocket.OPEN) return
  raw?.cork()
  if (loads) socket.send(load(i))
  socket.ping()
  raw?.uncork()
}

let beating: NodeJS.Timeout | undefined
function startBeating(loads: boolean): void {
  clearInterval(beating)
  let tick = 0
  const fromMs = performance.now()
  beating = setInterval(() => {
    const due = Math.floor((performance.now() - fromMs) / (1_000 / ticksPerSecond))
    // Nobody beats twice for the time that this process stood still.
    tick = Math.max(tick, due - ticksPerSecond)
    for (; tick < due; tick++) {
      for (let i = tick % ticksPerSecond; i < nodes.length; i += ticksPerSecond) beat(i, loads)
    }
  }, 1_000 / ticksPerSecond)
}

/** Those that are connected beat while the others come: a replica does not wait for who is silent. */
async function connectAll(): Promise<void> {
  startBeating(false)
  let next = 0
  const lane = async (): Promise<void> => {
    while (next < Number(count)) await connect(next++)
  }
  await Promise.all(Array.from({ length: atOnce }, lane))
}

process.on('message', async (order: Order) => {
  if (order.do === 'connect') await connectAll()
  if (order.do === 'beat') startBeating(order.loads === true)
  const open = nodes.filter(({ socket }) => socket.readyState === WebSocket.OPEN).length
  const answer: Count = { ...counts, open }
  process.send?.(answer)
})
process.once('disconnect', () => process.exit(0))
