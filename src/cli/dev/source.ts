/** The directory that is being written in: looked at a few times a second, because no file system tells everything. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

const lookEveryMs = 250

/** Names, sizes and times of all that is in it. Empty where it cannot be read. */
export function fingerprint(directory: string): string {
  try {
    return readdirSync(directory, { recursive: true, encoding: 'utf8' })
      .filter(name => !/(^|[\\/])(\.|node_modules([\\/]|$))/.test(name))
      .sort()
      .map(name => {
        const { size, mtimeMs } = statSync(join(directory, name))
        return `${name}:${size}:${mtimeMs}`
      })
      .join('\n')
  } catch {
    return ''
  }
}

/** Calls when something is another one than before, once it has been left alone for a look. Returns how to stop. */
export function watchDirectory(directory: string, onChange: () => void): () => void {
  let told = fingerprint(directory)
  let last = told
  const timer = setInterval(() => {
    const now = fingerprint(directory)
    const still = now === last
    last = now
    if (!still || now === told) return
    told = now
    onChange()
  }, lookEveryMs)
  return () => clearInterval(timer)
}
