/** A directory as a package: the same files make the same bytes, and so the same digest. */
import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join, sep } from 'node:path'
import { gzipSync } from 'node:zlib'
import { pack } from 'tar-stream'
import { CloudError } from '../cloud/errors.js'

/** A `.tgz` as it is, a directory packed. Throws `bad-request` when it is neither. */
export async function packageBytes(path: string): Promise<Buffer> {
  let isDirectory: boolean
  try {
    isDirectory = statSync(path).isDirectory()
  } catch {
    throw new CloudError('bad-request', `there is no ${path}: give a package (.tgz) or the directory of a component`)
  }
  return isDirectory ? packDirectory(path) : readFileSync(path)
}

async function packDirectory(directory: string): Promise<Buffer> {
  const names = readdirSync(directory, { recursive: true, encoding: 'utf8' })
    .map(name => name.split(sep).join('/'))
    .filter(name => !name.split('/').some(part => part.startsWith('.') || part === 'node_modules'))
    .sort()
  if (!names.includes('meta.json')) throw new CloudError('bad-request', `${directory} holds no meta.json: no component`)
  const tar = pack()
  const mtime = new Date(0)
  for (const name of names) {
    const file = join(directory, name)
    if (statSync(file).isFile()) tar.entry({ name, mtime, mode: 0o644 }, readFileSync(file))
  }
  tar.finalize()
  const parts: Buffer[] = []
  for await (const part of tar) parts.push(part as Buffer)
  return gzipSync(Buffer.concat(parts), { level: 9 })
}
