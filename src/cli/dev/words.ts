/** What the component prints, and why its views fail: read from the logs of the local nodes as they grow. */
import { closeSync, openSync, readSync } from 'node:fs'

const lookEveryMs = 250
const readMax = 256 * 1024

/** Undefined for what is nothing of the component's. */
export function wordOf(line: string, component: string): string | undefined {
  let fields: Record<string, unknown>
  try {
    fields = JSON.parse(line) as Record<string, unknown>
  } catch {
    return undefined
  }
  const { msg, stream, error, view, reason } = fields
  if (fields['component'] !== component) return undefined
  if (stream !== undefined) return `${component}: ${String(msg)}${error === undefined ? '' : ` (${String(error)})`}`
  return view === undefined || reason === undefined
    ? undefined
    : `${component}/${String(view)} failed: ${String(reason)}`
}

/** Calls for each whole line that is added. Returns how to stop. */
export function follow(file: string, onLine: (line: string) => void): () => void {
  let at = 0
  let begun = Buffer.alloc(0)
  const look = (): void => {
    const part = readFrom(file, at)
    at += part.byteLength
    const all = Buffer.concat([begun, part])
    const end = all.lastIndexOf('\n')
    begun = all.subarray(end + 1)
    if (end < 0) return
    for (const line of all.subarray(0, end).toString().split('\n')) onLine(line)
  }
  const timer = setInterval(look, lookEveryMs)
  return () => clearInterval(timer)
}

/** Empty while it is not there yet. */
function readFrom(file: string, at: number): Buffer {
  let fd: number
  try {
    fd = openSync(file, 'r')
  } catch {
    return Buffer.alloc(0)
  }
  try {
    const buffer = Buffer.alloc(readMax)
    return buffer.subarray(0, readSync(fd, buffer, 0, readMax, at))
  } finally {
    closeSync(fd)
  }
}
