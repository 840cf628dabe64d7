/** A process that `up` looks after: started again 0.5 s after it died, stopped with it, its words in a log of its own. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync, statSync } from 'node:fs'

export interface ChildOptions {
  readonly name: string
  readonly program: string
  readonly args: readonly string[]
  readonly logFile: string
  /** What it started is ended when it dies: the components of a mothership, which may not notice. */
  readonly endsGroup: boolean
  /** The pid is another one now. */
  readonly onChange: () => void
  readonly onDied: (how: string) => void
}

const restartAfterMs = 500
const logBytesMax = 20 * 1024 * 1024

export class Child {
  #child: ChildProcess | undefined
  #timer: NodeJS.Timeout | undefined
  #stopping = false
  restarts = 0

  constructor(private readonly options: ChildOptions) {}

  get name(): string {
    return this.options.name
  }

  /** 0 while it is being started again. */
  get pid(): number {
    return this.#child?.pid ?? 0
  }

  start(): void {
    const { program, args, logFile } = this.options
    const log = openLog(logFile)
    // A group of its own: the terminal's Ctrl-C is for `up`, which stops its children in order.
    const child = spawn(program, args, { stdio: ['ignore', log, log], detached: true })
    if (log !== 'ignore') closeSync(log)
    this.#child = child
    child.once('error', error => this.#ended(child, error.message))
    child.once('exit', (code, signal) => this.#ended(child, signal === null ? `exit code ${code}` : signal))
    this.options.onChange()
  }

  #ended(child: ChildProcess, how: string): void {
    if (this.#child !== child) return
    this.#child = undefined
    if (this.#stopping) return
    if (this.options.endsGroup && child.pid !== undefined) killGroup(child.pid)
    this.options.onDied(how)
    this.restarts++
    this.#timer = setTimeout(() => this.start(), restartAfterMs)
  }

  /** SIGTERM, and SIGKILL for its whole group when it does not end in time. */
  async stop(withinMs: number): Promise<void> {
    this.#stopping = true
    clearTimeout(this.#timer)
    const child = this.#child
    if (!child || child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
    const { pid } = child
    const ended = new Promise<void>(resolve => child.once('exit', () => resolve()))
    child.kill('SIGTERM')
    const timer = setTimeout(() => killGroup(pid), withinMs)
    await ended
    clearTimeout(timer)
    // What it left in its group (components, an HAProxy of a killed agent) goes with it.
    killGroup(pid)
  }

  /** The last words in its log, for an error. */
  lastWords(): string {
    try {
      const lines = readFileSync(this.options.logFile, 'utf8').trim().split('\n')
      const last = lines.findLast(line => /^rain: |error|fatal|panic|cannot|refus/i.test(line)) ?? lines.at(-1) ?? ''
      return last.slice(0, 500)
    } catch {
      return ''
    }
  }
}

/** Without a log (a full disk, say) it runs all the same. */
function openLog(path: string): number | 'ignore' {
  try {
    return openSync(path, sizeOf(path) > logBytesMax ? 'w' : 'a', 0o600)
  } catch {
    return 'ignore'
  }
}

export function killGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL')
  } catch {
    // There is nobody left in it.
  }
}

function sizeOf(path: string): number {
  try {
    return statSync(path).size
  } catch {
    return 0
  }
}

/** Children of a process, as the kernel knows them. */
export function childPids(pid: number): number[] {
  try {
    return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').trim().split(/\s+/).filter(Boolean).map(Number)
  } catch {
    return []
  }
}

export const isAlive = (pid: number): boolean => {
  try {
    process.kill(pid, 0)
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'))
  } catch {
    return false
  }
}

/** Whether a process was started for this data directory: a pid may be somebody else's by now. */
export function belongsTo(pid: number, dataDir: string): boolean {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes(dataDir)
  } catch {
    return false
  }
}

/** Whether it is another process that runs `rain up`. */
export function isSupervisor(pid: number): boolean {
  try {
    const words = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
    return pid !== process.pid && words.includes('up') && isAlive(pid)
  } catch {
    return false
  }
}
