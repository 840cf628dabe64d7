/** Real motherships for a real rain server: packages that run there, a replica of each of their own, and their wires. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { systemChance } from '../../src/main/world.js'
import { type Mothership, startMothership } from '../../src/mothership/mothership.js'
import type { WantedWire } from '../../src/protocol/messages.js'
import { builtWorker } from './build.js'
import { waitUntil } from './etcd.js'
import { FakeReplica } from './fake-replica.js'
import { TestLog } from './logs.js'
import { aPackage } from './packages.js'
import { testClock } from './plain-store.js'
import { aKey } from './tickets.js'

export interface Hosting {
  readonly id: string
  readonly replica: FakeReplica
  readonly mothership: Mothership
  /** As it is given to rain servers. */
  readonly wire: WantedWire
  /** Another wanted state: an instance `<component>.<id>` for each component that is named. */
  hosts(components: readonly string[], generation?: number): Promise<void>
}

type Packages = Readonly<Record<string, Readonly<Record<string, string>>>>

export class RealMotherships {
  readonly key = aKey()
  readonly #dataDir = mkdtempSync(join(tmpdir(), 'rain-motherships-'))
  readonly #all: Hosting[] = []

  /** Files of each package, in version 1.0. */
  constructor(private readonly packages: Packages) {}

  async start(id: string, components: readonly string[]): Promise<Hosting> {
    const { key, packages } = this
    const replica = await FakeReplica.start()
    const want = async (names: readonly string[], generation = 0): Promise<void> => {
      const entries: Record<string, unknown> = { keys: { keys: [{ id: key.id, publicKey: key.publicKey }] } }
      for (const component of names) {
        entries[`instances/${component}.${id}`] = {
          component,
          version: '1.0.0',
          digest: replica.has(await aPackage(packages[component]!)),
          size: 1,
          role: 'primary',
          epoch: 1,
          generation,
          isolation: 'shared',
          need: { cpu: 50, ram: 32, bandwidth: 100 },
        }
      }
      replica.want(entries)
    }
    await want(components)
    const mothership = await startMothership(
      {
        id,
        host: '127.0.0.1',
        port: 0,
        metricsPort: 1,
        logLevel: 'silent',
        hypervisors: [replica.url],
        token: 'token',
        address: 'ws://127.0.0.1:1',
        labels: {},
        dataDir: join(this.#dataDir, id),
        capacity: { cpu: 1000, ram: 1024, bandwidth: 1000 },
        measure: 'processes',
      },
      { log: new TestLog(), clock: testClock, chance: systemChance, workerPath: builtWorker },
    )
    const running = (names: readonly string[], generation: number): Promise<void> =>
      waitUntil(`${names.join()} run on ${id}`, () =>
        names.every(each => {
          const last = replica.last(`${each}.${id}`)
          return last?.phase === 'running' && last.generation === generation
        }),
      )
    const wire = { mothership: id, address: `ws://127.0.0.1:${mothership.port}`, ticket: key.ticket(id) }
    const hosting: Hosting = {
      id,
      replica,
      mothership,
      wire,
      hosts: async (names, generation = 0) => {
        await want(names, generation)
        await running(names, generation)
      },
    }
    this.#all.push(hosting)
    await running(components, 0)
    return hosting
  }

  async stop(): Promise<void> {
    await Promise.all(this.#all.map(each => each.mothership.stop()))
    await Promise.all(this.#all.map(each => each.replica.close()))
    rmSync(this.#dataDir, { recursive: true, force: true })
  }
}
