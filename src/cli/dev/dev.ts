/**
 * `rain dev`: one component runs here, in the process that a mothership would run it in, and everything else comes from
 * a cloud. A rain server and a mothership are started as programs of their own; what the cloud wants of a rain server is
 * given to the one here, with the component that is being written in its place.
 */
import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { readPackage } from '../../cloud/component/package.js'
import { CloudError, sentenceOf } from '../../cloud/errors.js'
import type { WantedWire } from '../../protocol/messages.js'
import { signTicket } from '../../protocol/ticket.js'
import type { Client } from '../../sdk/client.js'
import { print } from '../connection.js'
import { packageBytes } from '../pack.js'
import { Child } from '../up/child.js'
import { type CloudLink, linkToCloud } from './cloud.js'
import { Front } from './front.js'
import { forMothership, forRainServer, instanceOf, type LocalPackage, localMothership } from './overlay.js'
import { type Observed, Relay } from './relay.js'
import { watchDirectory } from './source.js'
import { follow, wordOf } from './words.js'

export interface DevOptions {
  readonly directory: string
  readonly port: number
  readonly client: Client
  readonly url: string
  /** The `rain` program. */
  readonly program: string
}

const stopWithinMs = 3_000

/** Resolves with the exit code after SIGINT or SIGTERM. */
export async function dev(options: DevOptions): Promise<number> {
  const { bytes, local, faults } = await read(options.directory)
  if (!local) {
    for (const fault of faults) process.stderr.write(`${fault}\n`)
    return 1
  }
  const stopped = new Promise<void>(done => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => done())
  })
  const session = new DevSession(options)
  try {
    await session.start(local, bytes)
    await stopped
  } finally {
    await session.stop()
  }
  return 0
}

interface Source {
  readonly bytes: Buffer
  readonly local?: LocalPackage
  readonly faults: readonly string[]
}

async function read(directory: string): Promise<Source> {
  const bytes = await packageBytes(directory)
  const reading = await readPackage(bytes)
  if (reading.kind === 'good') return { bytes, local: reading.package, faults: [] }
  return {
    bytes,
    faults: reading.errors.map(each => sentenceOf({ ...each, path: join(directory, each.path) })),
  }
}

class DevSession {
  readonly #token = randomBytes(32).toString('base64url')
  /** Pages of an earlier `rain dev` are told from those of this one. */
  readonly #life = randomBytes(4).toString('hex')
  readonly #key = { id: 'dev', ...keyPair() }
  readonly #dir = mkdtempSync(join(tmpdir(), 'rain-dev-'))
  readonly #relay = new Relay({ token: this.#token, onObserved: items => this.#onObserved(items) })
  readonly #children: Child[] = []
  #front: Front | undefined
  #link: CloudLink | undefined
  readonly #watches: (() => void)[] = []
  #cloud: ReadonlyMap<string, unknown> = new Map()
  #wire: WantedWire | undefined
  #local: LocalPackage | undefined
  #serving: LocalPackage | undefined
  #copy = { generation: 0, epoch: 1, journals: {} as Record<string, string> }
  #build = 0
  #faults: readonly string[] = []
  #reading = false
  #again = false

  constructor(private readonly options: DevOptions) {}

  async start(local: LocalPackage, bytes: Buffer): Promise<void> {
    const { port, client, url, directory } = this.options
    await this.#relay.listen()
    const [server, mothership, ...metrics] = await freePorts(4)
    const front = new Front(server!)
    this.#front = front
    await front.listen(port).catch((error: NodeJS.ErrnoException) => {
      throw new CloudError('misconfigured', `port ${port} cannot be listened on (${error.code}): give another --port`)
    })
    const address = `http://127.0.0.1:${front.port}`
    this.#wire = { mothership: localMothership, address: `ws://127.0.0.1:${mothership}`, ticket: this.#ticket() }
    this.#run(local, bytes)
    this.#child('mothership', localMothership, mothership!, metrics[0]!, ['--data-dir', join(this.#dir, 'mothership')])
    this.#child('server', 'rain-dev-server', server!, metrics[1]!, ['--urls', '/*'])
    const component = local.descriptor.id
    this.#link = await linkToCloud({
      client,
      url,
      component,
      address,
      onWanted: entries => {
        this.#cloud = entries
        this.#tellServer()
      },
      onWord: print,
    })
    this.#watches.push(watchDirectory(directory, () => void this.#onChange()))
    const view = local.views[0]?.id ?? 'index'
    print(`${component}/${local.descriptor.version} runs here, everything else in the cloud at ${url}`)
    print(`  page  ${address}/${component}/${view}`)
    print(`  logs  ${this.#dir}`)
    print(`Ctrl-C stops it; a change in ${resolve(directory)} loads pages again.`)
  }

  async stop(): Promise<void> {
    for (const stop of this.#watches) stop()
    await this.#front?.close()
    const unlinked = this.#link?.close().catch((error: Error) => {
      process.stderr.write(`rain: the cloud could not be told that this is over: ${error.message}\n`)
    })
    await Promise.all(this.#children.map(each => each.stop(stopWithinMs)))
    await unlinked
    await this.#relay.close()
    rmSync(this.#dir, { recursive: true, force: true })
  }

  #child(role: string, id: string, port: number, metricsPort: number, more: readonly string[]): void {
    const tokenFile = join(this.#dir, 'token')
    const logFile = join(this.#dir, `${role}.log`)
    writeFileSync(tokenFile, this.#token, { mode: 0o600 })
    const child = new Child({
      name: id,
      program: process.execPath,
      args: [
        ...[this.options.program, role, '--id', id, '--port', String(port), '--metrics-port', String(metricsPort)],
        ...['--hypervisor', this.#relay.url, '--token-file', tokenFile, ...more],
      ],
      logFile,
      endsGroup: true,
      onChange: () => undefined,
      onDied: how => print(`the local ${role} died (${how}) and is started again: ${child.lastWords()}`),
    })
    this.#children.push(child)
    child.start()
    this.#watches.push(
      follow(logFile, line => {
        const word = this.#local && wordOf(line, this.#local.descriptor.id)
        if (word !== undefined) print(word)
      }),
    )
  }

  async #onChange(): Promise<void> {
    this.#again = true
    if (this.#reading) return
    this.#reading = true
    while (this.#again) {
      this.#again = false
      const { bytes, local, faults } = await read(this.options.directory).catch((error: Error) => {
        return { bytes: Buffer.alloc(0), local: undefined, faults: [error.message] }
      })
      if (local) this.#run(local, bytes)
      else this.#say(faults)
    }
    this.#reading = false
  }

  /** As a new generation of the instance: the old process serves until the new one runs. */
  #run(local: LocalPackage, bytes: Buffer): void {
    if (local.digest === this.#local?.digest) return this.#say([])
    if (this.#local && local.descriptor.id !== this.#local.descriptor.id) {
      return this.#say([`meta.json: it is called ${this.#local.descriptor.id} here: start rain dev again`])
    }
    this.#local = local
    this.#relay.serve(local.digest, bytes)
    this.#copy = { ...this.#copy, generation: this.#copy.generation + 1 }
    this.#tellMothership()
  }

  #tellMothership(): void {
    this.#relay.want('mothership', forMothership(this.#local, this.#copy, this.#key))
  }

  /** Until the first process runs, the cloud's own version is shown. */
  #tellServer(): void {
    if (this.#cloud.size === 0 || !this.#wire) return
    this.#relay.want('rainserver', forRainServer(this.#cloud, this.#serving, { runs: true, wire: this.#wire }))
  }

  #onObserved(items: readonly Observed[]): void {
    const mine = this.#local && items.findLast(each => each.instance === instanceOf(this.#local!))
    if (!mine) return
    this.#keepState(mine)
    const { generation } = this.#copy
    if (mine.generation === generation && mine.phase === 'running' && mine.reason === undefined) {
      if (this.#serving === this.#local) return
      this.#serving = this.#local
      this.#tellServer()
      this.#build++
      this.#say([])
      print(`${new Date().toLocaleTimeString()} ${this.#local?.descriptor.id}/${this.#local?.descriptor.version} runs`)
    } else if (mine.reason !== undefined && (mine.tried ?? mine.generation) === generation) {
      this.#say([`it does not start: ${mine.reason}`])
    }
  }

  /** Its only copy is always in sync: whatever journal it has is the one that counts. */
  #keepState({ copy }: Observed): void {
    if (copy?.wants === undefined || copy.wants === 'lost') return
    this.#copy = { ...this.#copy, epoch: this.#copy.epoch + 1, journals: { [localMothership]: copy.journal } }
    this.#tellMothership()
  }

  #say(faults: readonly string[]): void {
    const news = faults.filter(each => !this.#faults.includes(each))
    for (const fault of news) process.stderr.write(`${fault}\n`)
    if (faults.length === 0 && this.#faults.length > 0) print('all is right again')
    this.#faults = faults
    this.#front?.show({ build: `${this.#life}-${this.#build}`, faults })
  }

  #ticket(): string {
    const now = Date.now()
    const claims = { who: 'rainserver/rain-dev-server', toWhom: `mothership/${localMothership}`, era: 1 }
    return signTicket(this.#key, { ...claims, notBefore: now, expires: now + 365 * 86_400_000 })
  }
}

function keyPair(): { privateKey: string; publicKey: string } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519')
  return {
    privateKey: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  }
}

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer())
  await Promise.all(servers.map(each => new Promise<void>(done => each.listen(0, '127.0.0.1', done))))
  const ports = servers.map(each => (each.address() as { port: number }).port)
  await Promise.all(servers.map(each => new Promise(done => each.close(done))))
  return ports
}
