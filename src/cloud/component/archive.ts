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
  /** `files`: what could be unpacked, where only some entries are refused. */
  | { readonly kind: 'bad'; readonly errors: readonly FieldError[]; readonly files?: Files }

export const digestOfPackage = (bytes: Uint8Array): string =>
  `sha256:${createHash('sha256').update(bytes).digest('hex')}`

/** Of what is looked at so far: nothing more of the archive is read. */
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
    const { files, errors } = await read(bytes)
    return errors.length === 0 ? { kind: 'good', files } : { kind: 'bad', errors, files }
  } catch (error) {
    if (error instanceof Refusal) return bad(error.path, error.message)
    return bad('', `not a gzipped tar archive (${(error as Error).message})`)
  }
}

const bad = (path: string, message: string): Unpacked => ({ kind: 'bad', errors: [{ path, message }] })

async function read(bytes: Uint8Array): Promise<{ files: Files; errors: FieldError[] }> {
  const names = new Names()
  const files = new Map<string, Buffer>()
  const errors: FieldError[] = []
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
      const { name, type } = entry.header
      if (++entries > filesMax) throw new Refusal('', `more than ${filesMax} entries`)
      const parts: Buffer[] = []
      for await (const part of entry) {
        total += (part as Buffer).byteLength
        if (total > limit) throw new Refusal(shown(name), tooMuch(limit))
        parts.push(part as Buffer)
      }
      const problem = kindProblem(type ?? 'file') ?? nameProblem(name)
      const path = problem === undefined ? pathOf(name) : ''
      const objection = problem ?? (path === '' ? undefined : names.add(path, type === 'directory'))
      if (objection !== undefined) errors.push({ path: shown(name), message: objection })
      else if (path !== '' && type !== 'directory') files.set(path, Buffer.concat(parts))
    }
  } finally {
    source.destroy()
    gunzip.destroy()
  }
  return { files, errors }
}

const tooMuch = (limit: number): string =>
  limit === unpackedBytesMax
    ? `unpacks to more than ${limit} bytes`
    : `unpacks to more than ${limit} bytes: more than ${ratioMax} times what it is as an archive`

const shown = (name: string): string => (name.length > 100 ? `${name.slice(0, 60)}…` : name)

const kindProblem = (type: string): string | undefined =>
  type === 'directory' || type === 'file' || type === 'contiguous-file'
    ? undefined
    : `a ${type}: only files and directories are accepted`

/** Names that any file system can hold beside each other: upper and lower case are not told apart. */
class Names {
  readonly #files = new Set<string>()
  readonly #directories = new Set<string>()

  /** Why it cannot be there too. */
  add(path: string, isDirectory: boolean): string | undefined {
    const fold = path.normalize('NFC').toLowerCase()
    const above = directoriesAbove(fold)
    for (const each of isDirectory ? [...above, fold] : above) {
      if (this.#files.has(each)) return bothMessage
      this.#directories.add(each)
    }
    if (isDirectory) return undefined
    if (this.#directories.has(fold)) return bothMessage
    if (this.#files.has(fold)) return 'the name comes twice (upper and lower case are not told apart)'
    this.#files.add(fold)
    return undefined
  }
}

const bothMessage = 'a file and a directory of one name'

/** `a` and `a/b` of `a/b/c`. */
const directoriesAbove = (path: string): string[] => [...path.matchAll(/\//g)].map(({ index }) => path.slice(0, index))

/** Why a name cannot be that of something within the package. */
function nameProblem(name: string): string | undefined {
  if (name.length > pathMax) return `a path of more than ${pathMax} characters`
  if (/[\\\0]/.test(name)) return 'a backslash or a zero byte in a path'
  if (/[\p{Cc}\ufffd]/u.test(name)) return 'a control character, or what is no UTF-8, in a path'
  if (name.startsWith('/') || /^[A-Za-z]:/.test(name)) return 'an absolute path'
  const parts = name.split('/')
  if (parts.some(part => Buffer.byteLength(part) > nameBytesMax)) return `a name of more than ${nameBytesMax} bytes`
  return parts.includes('..') ? 'a path that leaves the package' : undefined
}

/** Without a leading `./`; empty for the root itself. */
const pathOf = (name: string): string =>
  name
    .split('/')
    .filter(part => part !== '' && part !== '.')
    .join('/')
