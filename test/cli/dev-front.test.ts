/** Where the browser looks, before a local rain server of the test's own. */
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import WebSocket, { WebSocketServer } from 'ws'
import { Front } from '../../src/cli/dev/front.js'

let upstream: Server
let sockets: WebSocketServer
let front: Front
let url: string
const hosts: (string | undefined)[] = []

beforeEach(async () => {
  upstream = createServer((request, response) => {
    hosts.push(request.headers.host)
    const html = request.url === '/page'
    response.writeHead(html ? 404 : 200, { 'content-type': html ? 'text/html; charset=utf-8' : 'text/css' })
    if (request.method === 'POST') request.pipe(response)
    else response.end(request.method === 'HEAD' ? undefined : html ? '<body>ä</body>\n' : 'p {}')
  })
  sockets = new WebSocketServer({ server: upstream })
  sockets.on('connection', socket => socket.on('message', data => socket.send(`echo ${String(data)}`)))
  await new Promise<void>(done => upstream.listen(0, '127.0.0.1', done))
  front = new Front((upstream.address() as AddressInfo).port)
  await front.listen(0)
  url = `http://127.0.0.1:${front.port}`
})
afterEach(async () => {
  await front.close()
  for (const socket of sockets.clients) socket.terminate()
  upstream.closeAllConnections()
  await new Promise(done => upstream.close(done))
})

describe('the pages of rain dev', () => {
  it('have the script, whatever their status; everything else is as it was', async () => {
    front.show({ build: 'x-1', faults: [] })
    const page = await fetch(`${url}/page`)
    const text = await page.text()
    expect([page.status, text]).toEqual([
      404,
      '<body>ä<script src="/__rain/dev.js" data-build="x-1"></script>\n</body>\n',
    ])
    expect(Number(page.headers.get('content-length'))).toBe(Buffer.byteLength(text))
    expect(await (await fetch(`${url}/a.css`)).text()).toBe('p {}')
    expect(await (await fetch(`${url}/a.css`, { method: 'POST', body: 'sent' })).text()).toBe('sent')
    expect((await fetch(`${url}/page`, { method: 'HEAD' })).status).toBe(404)
    expect(new Set(hosts)).toEqual(new Set([new URL(url).host]))
  })

  it('are told of each change, and of the state as it is when they begin to listen', async () => {
    front.show({ build: 'x-1', faults: ['a fault'] })
    const { body } = await fetch(`${url}/__rain/events`)
    const reader = body!.pipeThrough(new TextDecoderStream()).getReader()
    expect((await reader.read()).value).toBe('data: {"build":"x-1","faults":["a fault"]}\n\n')
    front.show({ build: 'x-2', faults: [] })
    expect((await reader.read()).value).toBe('data: {"build":"x-2","faults":[]}\n\n')
    await reader.cancel()
  })

  it('open websockets, too', async () => {
    const socket = new WebSocket(url.replace('http', 'ws'))
    const answer = await new Promise<string>((resolve, reject) => {
      socket.on('open', () => socket.send('hello'))
      socket.on('message', data => resolve(String(data)))
      socket.on('error', reject)
    })
    expect(answer).toBe('echo hello')
    socket.close()
  })

  it('say that the rain server is starting while it is not there, and come by themselves then', async () => {
    upstream.closeAllConnections()
    await new Promise(done => upstream.close(done))
    const page = await fetch(`${url}/page`)
    expect([page.status, await page.text()]).toEqual([503, expect.stringContaining('/__rain/dev.js')])
    await new Promise<void>(done => upstream.listen(0, '127.0.0.1', done))
  })
})
