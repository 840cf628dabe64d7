/**
 * Control groups of the kernel (memory, version 2 or 1), one for each process of a component: a bound that holds between
 * two looks, and an end that nothing escapes, whatever group or session it has made for itself.
 */
import { existsSync, mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CloudError } from '../cloud/errors.js'

const removeTries = 50
const removeEveryMs = 20

export class MemoryGroups {
  readonly #second: boolean
  #count = 0

  /** Below `directory`, which may be written. Throws `misconfigured` when it is none. */
  constructor(
    private readonly directory: string,
    private readonly name: string,
  ) {
    this.#second = existsSync(join(directory, 'cgroup.controllers'))
    try {
      if (this.#second) writeFileSync(join(directory, 'cgroup.subtree_control'), '+memory')
      this.#removeLeft()
      const probe = this.create()
      probe.bound(1_024)
      rmdirSync(probe.path)
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw new CloudError(
        'misconfigured',
        `--component-cgroup ${directory}: no control group with memory that can be written (${code ?? 'unknown'})`,
      )
    }
  }

  create(): MemoryGroup {
    const path = join(this.directory, `${this.name}-${this.#count++}`)
    mkdirSync(path, { recursive: true })
    return new MemoryGroup(path, this.#second)
  }

  /** Of a mothership of this name that was killed. What still runs in one keeps it, and is in nobody's way. */
  #removeLeft(): void {
    for (const each of readdirSync(this.directory)) {
      if (!each.startsWith(`${this.name}-`)) continue
      try {
        rmdirSync(join(this.directory, each))
      } catch {
        this.#count = Math.max(this.#count, Number(each.slice(this.name.length + 1)) + 1 || 0)
      }
    }
  }
}

export class MemoryGroup {
  #maxMiB: number | undefined

  constructor(
    readonly path: string,
    private readonly second: boolean,
  ) {}

  /** Whatever it starts from now on is in it, too. */
  add(pid: number): void {
    writeFileSync(join(this.path, 'cgroup.procs'), String(pid))
  }

  /** A smaller bound than what is used already is left to those who look. */
  bound(maxMiB: number): void {
    if (maxMiB === this.#maxMiB) return
    try {
      writeFileSync(join(this.path, this.second ? 'memory.max' : 'memory.limit_in_bytes'), String(maxMiB * 2 ** 20))
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EBUSY') throw error
    }
    this.#maxMiB = maxMiB
  }

  /** Whether the kernel ended something in it for its memory; to be asked before it is removed. */
  get outOfMemory(): boolean {
    const text = readFileSync(join(this.path, this.second ? 'memory.events' : 'memory.oom_control'), 'utf8')
    return Number(/^oom_kill (\d+)$/m.exec(text)?.[1] ?? 0) > 0
  }

  kill(): void {
    for (const pid of readFileSync(join(this.path, 'cgroup.procs'), 'utf8').split('\n')) {
      if (pid === '') continue
      try {
        process.kill(Number(pid), 'SIGKILL')
      } catch (error) {
        if ((error as NodeJS.ErrnoException).code !== 'ESRCH') throw error
      }
    }
  }

  /** Ends what is in it, however fast that multiplies within reason. Throws when it cannot be removed. */
  async remove(): Promise<void> {
    for (let tries = 1; ; tries++) {
      this.kill()
      try {
        return rmdirSync(this.path)
      } catch (error) {
        if (tries === removeTries) throw error
      }
      await new Promise(resolve => setTimeout(resolve, removeEveryMs))
    }
  }
}
