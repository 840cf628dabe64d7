/** One message on a component's own websocket, in either direction: bytes at most. */
export const socketTextBytesMax = 64 * 1024
