/**
 * Where the processes of components live: each has an environment of four variables, a directory of its own that goes
 * with it, and a process group that ends as a whole, whatever it has started. Nothing of the mothership's environment,
 * arguments or open files reaches it.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs'
import { rm } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { CloudError } from '../cloud/errors.js'
import type { UidRange } from '../config/parse.js'
import type { Clock, Log } from '../hypervisor/ports.js'
import { hardMaxMiB, heapMaxMiB } from './allowance.js'
import { GroupMemory } from './group-memory.js'
import type { WorkerStart } from './ipc.js'
import { type MemoryGroup, MemoryGroups } from './memory-groups.js'
import { standBehind, standBesideOthers } from './priority.js'
import { Reaper } from './reaper.js'
import type { Turn } from './silence.js'
import { Uids } from './uids.js'

export interface ConfinementOptions {
  readonly dataDir: string
  /** The built program that runs components. */
  readonly workerPath: string
  readonly clock: Clock
  readonly log: Log
  /** Name of the mothership, for the control groups of its processes. */
  readonly mothership: string
  readonly uids?: UidRange | undefined
  /** Directory of the control group in which each process gets its own. */
  readonly cgroup?: string | undefined
}

/** MiB; a young generation that grows to its default of three times 16 would be most of a small component. */
const semiSpaceMiB = 4

export class Confinement {
  readonly #scratch: string
  readonly #memory: GroupMemory
  #reaper: Reaper | undefined
  #uids: Uids | undefined
  #groups: MemoryGroups | undefined

  constructor(private readonly options: ConfinementOptions) {
    this.#scratch = join(options.dataDir, 'scratch')
    this.#memory = new GroupMemory(options.clock)
  }

  /** Throws `misconfigured` when the data directory cannot be written, or what is asked for cannot be had. */
  open(): void {
    const { uids, cgroup, mothership, workerPath } = this.options
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
    if (uids) {
      this.#uids = new Uids(uids)
      for (const path of [this.#scratch, dirname(workerPath)]) mustBeOpen(path)
    }
    if (cgroup !== undefined) this.#groups = new MemoryGroups(cgroup, `rain-${mothership}`)
    this.#reaper = new Reaper(this.options.log)
  }

  /**
   * `askedMiB`: what its instances ask for together as it starts. `behind`: the others go first when processors are
   * short, until it stands beside them again. Throws when there is no room for its directory.
   */
  start(start: WorkerStart, askedMiB: number, behind = false): Confined {
    const uid = this.#uids?.take()
    const free = (): void => {
      if (uid !== undefined) this.#uids?.free(uid)
    }
    try {
      const confined = this.#fork(start, askedMiB, uid, free)
      if (behind) confined.standBehind()
      return confined
    } catch (error) {
      free()
      throw error
    }
  }

  #fork(start: WorkerStart, askedMiB: number, uid: number | undefined, free: () => void): Confined {
    const group = this.#groups?.create()
    group?.bound(hardMaxMiB(askedMiB))
    const directory = mkdtempSync(join(this.#scratch, 'process-'))
    if (uid !== undefined) chownSync(directory, uid, uid)
    const child = fork(this.options.workerPath, [JSON.stringify(start)], {
      execArgv: [`--max-old-space-size=${heapMaxMiB(askedMiB)}`, `--max-semi-space-size=${semiSpaceMiB}`],
      env: { NODE_ENV: 'production', LANG: 'C.UTF-8', HOME: directory, TMPDIR: directory },
      cwd: directory,
      detached: true,
      serialization: 'advanced',
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
      ...(uid === undefined ? {} : { uid, gid: uid }),
    })
    const { pid } = child
    if (pid !== undefined) {
      this.#reaper?.watch(pid)
      this.#enter(group, child, pid)
    }
    return new Confined(child, directory, this.#memory, group, () => {
      if (pid !== undefined) this.#reaper?.forget(pid)
      free()
    })
  }

  /** Long before it has started anything itself. One that cannot be bounded is not to run. */
  #enter(group: MemoryGroup | undefined, child: ChildProcess, pid: number): void {
    try {
      group?.add(pid)
    } catch (err) {
      this.options.log.warn({ err }, 'a component process could not enter its control group')
      child.kill('SIGKILL')
    }
  }

  close(): void {
    this.#reaper?.close()
  }
}

/** Other users have to come to their files and their program. */
function mustBeOpen(path: string): void {
  for (let each = resolve(path); each !== dirname(each); each = dirname(each)) {
    if ((statSync(each).mode & 0o001) === 0) {
      throw new CloudError('misconfigured', `--component-uid: other users cannot enter ${each} (chmod o+x)`)
    }
  }
}

/** A process of a component, with all that it may have started. */
export class Confined {
  #cleared: Promise<void> | undefined
  #behind = false

  constructor(
    readonly child: ChildProcess,
    private readonly directory: string,
    private readonly memory: GroupMemory,
    private readonly group: MemoryGroup | undefined,
    private readonly ended: () => void,
  ) {}

  /** MiB resident; undefined when it is gone, or the kernel does not say. */
  get usedMiB(): number | undefined {
    return this.child.pid === undefined ? undefined : this.memory.ramMiB(this.child.pid)
  }

  /** What it has had of a processor, and whether it wants one; undefined when that is not told. */
  get turn(): Turn | undefined {
    try {
      const read = (file: string): string => readFileSync(`/proc/${this.child.pid}/${file}`, 'utf8')
      // Of the main thread: nanoseconds on a processor, in a queue for one, and how often.
      const [onProcessorNs] = read('schedstat').split(' ')
      const stat = read('stat')
      const state = stat[stat.lastIndexOf(')') + 2]
      return { cpuMs: Number(onProcessorNs) / 1e6, runnable: state === 'R' }
    } catch {
      return undefined
    }
  }

  /** By the kernel, where it can: `maxMiB` is what the instances ask for. */
  asks(askedMiB: number): void {
    this.group?.bound(hardMaxMiB(askedMiB))
  }

  /** Whether the kernel ended it, or something that it started, for its memory. */
  get outOfMemory(): boolean {
    return this.group?.outOfMemory ?? false
  }

  standBehind(): void {
    if (this.child.pid !== undefined) this.#behind = standBehind(this.child.pid)
  }

  standBesideOthers(): void {
    if (this.#behind && this.child.pid !== undefined) standBesideOthers(this.child.pid)
    this.#behind = false
  }

  kill(): void {
    this.group?.kill()
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
    await this.group?.remove()
    this.ended()
    // What was killed just now may still write.
    await rm(this.directory, { recursive: true, force: true, maxRetries: 5, retryDelay: 50 })
  }
}
