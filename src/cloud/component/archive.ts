/**
 * A package's bytes as files in memory. Nothing is written anywhere before every name and size has been looked at; what
 * a shared machine should not unpack is refused with the entry's name.
 */
import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { createGunzip } from 'node:zlib'
import { extract } from 'tar-stream'
import type { FieldError } from '../errors.js'

export const packageBytesMax = 8 * 1024 * 1024
const filesMax = 2_000
const unpackedBytesMax = 64 * 1024 * 1024
const ratioMax = 200
const pathMax = 512
/** What file systems take for one name. */
const nameBytesMax = 255

export type Files = ReadonlyMap<string, Buffer>
export type Unpacked =
  | { readonly kind: 'good'; readonly files: Files }
  | { readonly kind: 'bad'; readonly errors: readonly FieldError[] }

export const digestOfPackage = (bytes: Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`

class Refusal extends Error {
  constructor(
    readonly path: string,
    message: string,
  ) {
    super(message)
  }
}

/** Never throws for what is in the bytes. */
export async function unpack(bytes: Uint8Array): Promise<Unpacked> {
  if (bytes.byteLength > packageBytesMax) {
    return bad('', `${bytes.byteLength} bytes, at most ${packageBytesMax} are accepted`)
  }
  try {
    return { kind: 'good', files: await read(bytes) }
  } catch (error) {
    if (error instanceof Refusal) return bad(error.path, error.message)
    return bad('', `not a gzipped tar archive (${(error as Error).message})`)
  }
}

const bad = (path: string, message: string): Unpacked => ({ kind: 'bad', errors: [{ path, message }] })

async function read(bytes: Uint8Array): Promise<Files> {
  const files = new Map<string, Buffer>()
  const folded = new Set<string>()
  const directories = new Set<string>()
  const limit = Math.min(unpackedBytesMax, Math.max(1024 * 1024, bytes.byteLength * ratioMax))
  let total = 0
  let entries = 0
  const gunzip = createGunzip()
  const archive = extract()
  const source = Readable.from([Buffer.from(bytes)])
  source.pipe(gunzip).pipe(archive)
  gunzip.on('error', error => archive.destroy(error))
  try {
    for await (const entry of archive) {
      const { header } = entry
      if (++entries > filesMax) throw new Refusal('', `more than ${filesMax} entries`)
      const isDirectory = header.type === 'directory'
      if (!isDirectory && header.type !== 'file' && header.type !== 'contiguous-file') {
        throw new Refusal(header.name, `a ${header.type}: only files and directories are accepted`)
      }
      const path = safePath(header.name)
      const parts: Buffer[] = []
      for await (const part of entry) {
        total += (part as Buffer).byteLength
        if (total > limit) throw new Refusal(header.name, `unpacks to more than ${limit} bytes`)
        parts.push(part as Buffer)
      }
      if (path === '') continue
      const fold = path.toLowerCase()
      for (const above of isDirectory ? [...directoriesAbove(fold), fold] : directoriesAbove(fold)) {
        if (folded.has(above)) throw new Refusal(path, bothMessage)
        directories.add(above)
      }
      if (isDirectory) continue
      if (directories.has(fold)) throw new Refusal(path, bothMessage)
      if (folded.has(fold)) throw new Refusal(path, 'the name comes twice (upper and lower case are not told apart)')
      folded.add(fold)
      files.set(path, Buffer.concat(parts))
    }
  } finally {
    source.destroy()
    gunzip.destroy()
  }
  return files
}

const bothMessage = 'a file and a directory of one name'

/** `a` and `a/b` of `a/b/c`. */
const directoriesAbove = (path: string): string[] => [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index))

/** Without a leading `./`; empty for the root itself. Throws for what points anywhere else. */
function safePath(name: string): string {
  if (name.length > pathMax) throw new Refusal(`${name.slice(0, 60)}…`, `a path of more than ${pathMax} characters`)
  if (/[\\\0]/.test(name)) throw new Refusal(name, 'a backslash or a zero byte in a path')
  if (name.startsWith('/') || /^[A-Za-z]:/.test(name)) throw new Refusal(name, 'an absolute path')
  const parts = name.split('/').filter(part => part !== '' && part !== '.')
  if (parts.some(part => Buffer.byteLength(part) > nameBytesMax)) {
    throw new Refusal(`${name.slice(0, 60)}…`, `a name of more than ${nameBytesMax} bytes`)
  }
  if (parts.includes('..')) throw new Refusal(name, 'a path that leaves the package')
  return parts.join('/')
}
