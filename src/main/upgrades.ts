/** Sessions and links are the only upgrades that a replica knows: any other socket is told so and closed. */
import type { Server } from 'node:http'
import { nodePath, peerPath } from '../protocol/messages.js'

const known: ReadonlySet<string> = new Set([nodePath, peerPath])

export function refuseOtherUpgrades(server: Server): void {
  server.on('upgrade', (request, socket) => {
    if (known.has(request.url?.split('?')[0] ?? '')) return
    socket.on('error', () => socket.destroy())
    socket.end('HTTP/1.1 404 Not Found\r\nConnection: close\r\nContent-Length: 0\r\n\r\n', () => socket.destroy())
  })
}
