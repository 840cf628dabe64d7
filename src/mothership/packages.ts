/** Packages on this mothership's disk: fetched by digest from any replica, verified, unpacked, cached. */
import { existsSync } from 'node:fs'
import { chmod, mkdir, mkdtemp, readdir, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { digestOfPackage, type Files, packageBytesMax, unpack } from '../cloud/component/archive.js'
import { isModule } from '../cloud/component/code.js'
import { CloudError } from '../cloud/errors.js'
import type { Log } from '../hypervisor/ports.js'
import { Dialer, type DialerOptions } from '../sdk/dialer.js'
import { call } from '../sdk/http.js'

export interface PackageStoreOptions {
  readonly dataDir: string
  /** Urls of replicas, best first. */
  readonly replicas: () => readonly string[]
  readonly token: string
  readonly network?: DialerOptions
  readonly log: Log
}

const fetchMs = 15_000
const digestText = /^sha256:[0-9a-f]{64}$/

export class PackageStore {
  readonly #root: string
  readonly #underWay = new Map<string, Promise<string>>()
  readonly #dialer: Dialer

  constructor(private readonly options: PackageStoreOptions) {
    this.#root = join(options.dataDir, 'packages')
    this.#dialer = new Dialer('', options.token, options.network)
  }

  /** Throws `misconfigured` when the data directory cannot be written. */
  async open(): Promise<void> {
    try {
      await mkdir(this.#root, { recursive: true, mode: 0o711 })
      // Where components run as other users, these come to their files, whose names they are told.
      await chmod(this.#root, 0o711)
      for (const name of await readdir(this.#root)) {
        if (name.startsWith('.new-')) await rm(join(this.#root, name), { recursive: true, force: true })
      }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw new CloudError(
        'misconfigured',
        `--data-dir ${this.options.dataDir} cannot be written (${code ?? 'unknown'})`,
      )
    }
  }

  /** The directory with the unpacked package; one fetch at a time for a digest. */
  async directory(digest: string): Promise<string> {
    if (!digestText.test(digest)) throw new Error(`${digest.slice(0, 80)} is not a digest`)
    const path = join(this.#root, digest.replace(':', '-'))
    if (existsSync(path)) return path
    let coming = this.#underWay.get(digest)
    if (!coming) {
      coming = this.#fetchAndUnpack(digest, path).finally(() => this.#underWay.delete(digest))
      this.#underWay.set(digest, coming)
    }
    return coming
  }

  /** Removes what nothing refers to. */
  async keepOnly(digests: ReadonlySet<string>): Promise<void> {
    const kept = new Set([...digests].map(digest => digest.replace(':', '-')))
    for (const name of await readdir(this.#root)) {
      const digest = name.replace('sha256-', 'sha256:')
      if (kept.has(name) || name.startsWith('.new-') || this.#underWay.has(digest)) continue
      await rm(join(this.#root, name), { recursive: true, force: true })
    }
  }

  async #fetchAndUnpack(digest: string, path: string): Promise<string> {
    const bytes = await this.#fetch(digest)
    // What it says was looked at when it was deployed, by the rules of then.
    const unpacked = await unpack(bytes)
    if (unpacked.kind === 'bad') throw new Error(`the package is not right: ${unpacked.errors[0]?.message}`)
    const fresh = await mkdtemp(join(this.#root, '.new-'))
    try {
      await unpackInto(fresh, unpacked.files)
      await chmod(fresh, 0o755)
      await rename(fresh, path)
    } catch (error) {
      // It is tried again and again: what is half there must not pile up.
      await rm(fresh, { recursive: true, force: true })
      throw error
    }
    return path
  }

  async #fetch(digest: string): Promise<Buffer> {
    let last = 'no replica is known'
    for (const replica of this.options.replicas()) {
      try {
        const bytes = await this.#fetchFrom(replica, digest)
        if (digestOfPackage(bytes) !== digest) throw new Error(`${replica} sent other bytes than ${digest}`)
        return bytes
      } catch (error) {
        last = (error as Error).message
        this.options.log.warn({ digest, reason: last }, 'a package could not be fetched from a replica')
      }
    }
    throw new Error(`the package could not be fetched: ${last}`)
  }

  async #fetchFrom(replica: string, digest: string): Promise<Buffer> {
    const { status, body } = await call({
      method: 'GET',
      url: `${replica}/packages/${encodeURIComponent(digest)}`,
      headers: { authorization: `Bearer ${this.options.token}` },
      ...this.#dialer.through(replica),
      withinMs: fetchMs,
      bytesMax: packageBytesMax,
    }).answer
    if (status !== 200) throw new Error(`${replica} answered ${status}`)
    return body
  }
}

async function unpackInto(directory: string, files: Files): Promise<void> {
  for (const [name, content] of files) {
    const file = join(directory, name)
    await mkdir(dirname(file), { recursive: true })
    await writeFile(file, content, { mode: 0o444 })
  }
  // Which kind of module `.js` is must not depend on where this mothership keeps its packages.
  if (files.has('package.json')) return
  const modules = [...files].some(([name, text]) => /^server\/.*\.js$/.test(name) && isModule(text.toString()))
  await writeFile(join(directory, 'package.json'), JSON.stringify({ type: modules ? 'module' : 'commonjs' }))
}
