/**
 * What a change that two machines keep costs at least: a frame to another process over a websocket, written there into
 * a file that has room for it, `fdatasync`, and back. What comes while it writes is written together. Two processes of
 * this program: one that echoes (`echo`), one that asks (`ask <port>`) and measures.
 */
import { close, fdatasync, fsyncSync, openSync, write, writeSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import WebSocket, { WebSocketServer } from 'ws'
import type { Measured } from '../harness.js'

export interface EchoQuestion {
  readonly bytes: number
  readonly outstanding: number
  readonly ms: number
}

const room = 256 * 1024 * 1024
const [, , role, at = ''] = process.argv

async function echo(directory: string): Promise<void> {
  const file = openSync(join(directory, 'floor'), 'w+')
  const block = Buffer.alloc(8 * 1024 * 1024)
  for (let done = 0; done < room; done += block.byteLength) writeSync(file, block, 0, block.byteLength, done)
  fsyncSync(file)
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
  let end = 0
  server.on('connection', socket => {
    let waiting: Buffer[] = []
    let writes = false
    const run = async (): Promise<void> => {
      writes = true
      while (waiting.length > 0) {
        const group = waiting
        waiting = []
        const bytes = Buffer.concat(group)
        if (end + bytes.byteLength > room) end = 0
        await promisify(write)(file, bytes, 0, bytes.byteLength, end)
        await promisify(fdatasync)(file)
        end += bytes.byteLength
        for (const each of group) socket.send(each)
      }
      writes = false
    }
    socket.on('message', data => {
      waiting.push(data as Buffer)
      if (!writes) void run()
    })
  })
  process.once('disconnect', () => close(file, () => process.exit()))
  server.once('listening', () => process.send?.((server.address() as { port: number }).port))
}

function ask(port: string): void {
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false })
  socket.once('open', () => process.send?.('ready'))
  process.on('message', async (question: EchoQuestion) => process.send?.(await measure(socket, question)))
  process.once('disconnect', () => process.exit())
}

function measure(socket: WebSocket, { bytes, outstanding, ms }: EchoQuestion): Promise<Measured> {
  const frame = Buffer.alloc(bytes, 7)
  const times: number[] = []
  const sentMs: number[] = []
  const fromMs = performance.now()
  return new Promise(resolve => {
    const send = (): void => {
      sentMs.push(performance.now())
      socket.send(frame)
    }
    socket.on('message', () => {
      const nowMs = performance.now()
      times.push(nowMs - sentMs.shift()!)
      if (nowMs - fromMs < ms) return send()
      if (sentMs.length > 0) return
      socket.removeAllListeners('message')
      times.sort((a, b) => a - b)
      const at = (share: number): number => times[Math.floor(times.length * share)] ?? Number.NaN
      resolve({
        rate: times.length / ((nowMs - fromMs) / 1000),
        answers: times.length,
        p50Ms: at(0.5),
        p99Ms: at(0.99),
      })
    })
    for (let sent = 0; sent < outstanding; sent++) send()
  })
}

if (role === 'echo') await echo(at)
else ask(at)
