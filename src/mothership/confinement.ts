/**
 * Where the processes of components live: each has an environment of four variables, a directory of its own that goes
 * with it, and a process group that ends as a whole, whatever it has started. Nothing of the mothership's environment,
 * arguments or open files reaches it.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { CloudError } from '../cloud/errors.js'
import type { Clock, Log } from '../hypervisor/ports.js'
import { heapMaxMiB } from './allowance.js'
import { GroupMemory } from './group-memory.js'
import type { WorkerStart } from './ipc.js'
import { Reaper } from './reaper.js'

export interface ConfinementOptions {
  readonly dataDir: string
  /** The built program that runs components. */
  readonly workerPath: string
  readonly clock: Clock
  readonly log: Log
}

/** MiB; a young generation that grows to its default of three times 16 would be most of a small component. */
const semiSpaceMiB = 4

export class Confinement {
  readonly #scratch: string
  readonly #memory: GroupMemory
  #reaper: Reaper | undefined

  constructor(private readonly options: ConfinementOptions) {
    this.#scratch = join(options.dataDir, 'scratch')
    this.#memory = new GroupMemory(options.clock)
  }

  /** Throws `misconfigured` when the data directory cannot be written. */
  open(): void {
    try {
      rmSync(this.#scratch, { recursive: true, force: true })
      mkdirSync(this.#scratch, { recursive: true, mode: 0o711 })
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw new CloudError(
        'misconfigured',
        `--data-dir ${this.options.dataDir} cannot be written (${code ?? 'unknown'})`,
      )
    }
    this.#reaper = new Reaper(this.options.log)
  }

  /** `askedMiB`: what its instances ask for together as it starts. Throws when there is no room for its directory. */
  start(start: WorkerStart, askedMiB: number): Confined {
    const directory = mkdtempSync(join(this.#scratch, 'process-'))
    const child = fork(this.options.workerPath, [JSON.stringify(start)], {
      execArgv: [`--max-old-space-size=${heapMaxMiB(askedMiB)}`, `--max-semi-space-size=${semiSpaceMiB}`],
      env: { NODE_ENV: 'production', LANG: 'C.UTF-8', HOME: directory, TMPDIR: directory },
      cwd: directory,
      detached: true,
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    if (child.pid !== undefined) this.#reaper?.watch(child.pid)
    return new Confined(child, directory, this.#memory, () => {
      if (child.pid !== undefined) this.#reaper?.forget(child.pid)
    })
  }

  close(): void {
    this.#reaper?.close()
  }
}

/** A process of a component, with all that it may have started. */
export class Confined {
  #cleared: Promise<void> | undefined

  constructor(
    readonly child: ChildProcess,
    private readonly directory: string,
    private readonly memory: GroupMemory,
    private readonly ended: () => void,
  ) {}

  /** MiB resident; undefined when it is gone, or the kernel does not say. */
  get usedMiB(): number | undefined {
    return this.child.pid === undefined ? undefined : this.memory.ramMiB(this.child.pid)
  }

  kill(): void {
    if (this.child.pid === undefined) return
    try {
      process.kill(-this.child.pid, 'SIGKILL')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
    }
  }

  /** After its end: what it started ends too, and its directory goes. */
  clear(): Promise<void> {
    return (this.#cleared ??= this.#clear())
  }

  async #clear(): Promise<void> {
    this.kill()
    this.ended()
    // What was killed just now may still write.
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  }
}
