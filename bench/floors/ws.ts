/**
 * A bare websocket server that answers pings: what ten thousand connections cost at least. Each is greeted with two
 * frames as long as those that a replica greets a node with.
 */
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { WebSocketServer } from 'ws'

const [welcomeBytes, wantedBytes] = process.argv.slice(2).map(Number)
const server = createServer()
const sockets = new WebSocketServer({ server, perMessageDeflate: false })
sockets.on('connection', socket => {
  socket.on('error', () => socket.terminate())
  socket.send(Buffer.alloc(welcomeBytes ?? 0))
  socket.send(Buffer.alloc(wantedBytes ?? 0))
})
server.listen(0, '127.0.0.1', 4_096, () => process.send?.(`http://127.0.0.1:${(server.address() as AddressInfo).port}`))
process.once('disconnect', () => process.exit(0))
