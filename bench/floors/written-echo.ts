/**
 * What a change that two machines keep costs at least: a frame to another process over a websocket, written there into
 * a file that has room for it, `fdatasync`, and back; `both`: written at both sides at the same time. What comes while
 * it writes is written together. Two processes of this program: one that echoes (`echo <directory>`), one that asks
 * (`ask <directory> <port>`) and measures.
 */
import { fdatasync, fsyncSync, openSync, write, writeSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import WebSocket, { WebSocketServer } from 'ws'
import type { Measured } from '../harness.js'

export interface EchoQuestion {
  readonly bytes: number
  readonly outstanding: number
  readonly ms: number
  readonly both: boolean
}

const room = 64 * 1024 * 1024
const [, , role, directory = '.', port] = process.argv

/** A file that has its length; `done` when it is durable, in order. */
class Written {
  readonly #file: number
  #end = 0
  #waiting: { readonly bytes: Buffer; readonly done: () => void }[] = []
  #writes = false

  constructor(name: string) {
    this.#file = openSync(join(directory, name), 'w+')
    const block = Buffer.alloc(8 * 1024 * 1024)
    for (let at = 0; at < room; at += block.byteLength) writeSync(this.#file, block, 0, block.byteLength, at)
    fsyncSync(this.#file)
  }

  write(bytes: Buffer, done: () => void): void {
    this.#waiting.push({ bytes, done })
    if (!this.#writes) void this.#run()
  }

  async #run(): Promise<void> {
    this.#writes = true
    while (this.#waiting.length > 0) {
      const group = this.#waiting
      this.#waiting = []
      const bytes = Buffer.concat(group.map(each => each.bytes))
      if (this.#end + bytes.byteLength > room) this.#end = 0
      await promisify(write)(this.#file, bytes, 0, bytes.byteLength, this.#end)
      await promisify(fdatasync)(this.#file)
      this.#end += bytes.byteLength
      for (const { done } of group) done()
    }
    this.#writes = false
  }
}

function echo(): void {
  const written = new Written('floor-echo')
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0, perMessageDeflate: false })
  server.on('connection', socket =>
    socket.on('message', data => written.write(data as Buffer, () => socket.send(data as Buffer))),
  )
  server.once('listening', () => process.send?.((server.address() as { port: number }).port))
}

function ask(): void {
  const written = new Written('floor-ask')
  const socket = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false })
  socket.once('open', () => process.send?.('ready'))
  process.on('message', async (question: EchoQuestion) => process.send?.(await measure(socket, written, question)))
}

function measure(
  socket: WebSocket,
  written: Written,
  { bytes, outstanding, ms, both }: EchoQuestion,
): Promise<Measured> {
  const frame = Buffer.alloc(bytes, 7)
  const times: number[] = []
  /** Under way: when it was sent, and how many answers are missing. */
  const sent: { readonly atMs: number; missing: number }[] = []
  const fromMs = performance.now()
  return new Promise(resolve => {
    const answered = (one: (typeof sent)[number] | undefined): void => {
      if (!one || --one.missing > 0) return
      const nowMs = performance.now()
      times.push(nowMs - one.atMs)
      under--
      if (nowMs - fromMs < ms) return send()
      if (under > 0) return
      socket.removeAllListeners('message')
      times.sort((a, b) => a - b)
      const at = (share: number): number => times[Math.floor(times.length * share)] ?? Number.NaN
      const rate = times.length / ((nowMs - fromMs) / 1000)
      resolve({ rate, answers: times.length, p50Ms: at(0.5), p99Ms: at(0.99) })
    }
    let under = 0
    const send = (): void => {
      const one = { atMs: performance.now(), missing: both ? 2 : 1 }
      sent.push(one)
      under++
      socket.send(frame)
      if (both) written.write(frame, () => answered(one))
    }
    socket.on('message', () => answered(sent.shift()))
    for (let count = 0; count < outstanding; count++) send()
  })
}

if (role === 'echo') echo()
else ask()
process.once('disconnect', () => process.exit())
