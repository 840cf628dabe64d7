/** Whoever asks for a websocket and does not get one is told why, by a status. */
import type { Duplex } from 'node:stream'

export function refuseUpgrade(socket: Duplex, status: string): void {
  socket.on('error', () => socket.destroy())
  // Who is refused and does not close its own end must not keep this one.
  socket.once('finish', () => socket.destroy())
  socket.end(`HTTP/1.1 ${status}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n`)
}
