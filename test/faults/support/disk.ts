/** A small disk that is made full. */
import { closeSync, openSync, writeSync } from 'node:fs'
import { join } from 'node:path'

export function fillDisk(directory: string): void {
  const file = openSync(join(directory, 'ballast'), 'w')
  for (const size of [1 << 20, 1 << 12]) {
    try {
      for (;;) writeSync(file, Buffer.alloc(size))
    } catch {
      // Full, to this size.
    }
  }
  closeSync(file)
}
