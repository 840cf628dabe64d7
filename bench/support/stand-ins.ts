/** Pages that HAProxy can send to, in a process of their own: they say their name, and echo on websockets. */
import { fork } from 'node:child_process'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { fileURLToPath } from 'node:url'
import { WebSocketServer } from 'ws'

export interface StandIns {
  readonly ports: readonly number[]
  close(): void
}

export function startStandIns(count: number): Promise<StandIns> {
  const child = fork(fileURLToPath(import.meta.url), [String(count)], { stdio: 'inherit' })
  return new Promise((resolve, reject) => {
    child.once('error', reject)
    child.once('message', ports => resolve({ ports: ports as number[], close: () => void child.kill('SIGKILL') }))
  })
}

async function standIn(number: number): Promise<number> {
  const server = createServer((call, answer) => answer.end(call.url === '/healthz' ? 'ready' : `page of ${number}`))
  server.keepAliveTimeout = 60_000
  new WebSocketServer({ server }).on('connection', socket => socket.on('message', data => socket.send(String(data))))
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  return (server.address() as AddressInfo).port
}

if (process.send && process.argv[1] === fileURLToPath(import.meta.url)) {
  process.once('disconnect', () => process.exit())
  const numbers = Array.from({ length: Number(process.argv[2]) }, (_, index) => index + 1)
  process.send(await Promise.all(numbers.map(standIn)))
}
