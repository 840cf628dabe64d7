/** Processes that a test may kill, pause and start again; whatever is left is ended with the test. */
import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, openSync, readFileSync } from 'node:fs'

export interface ProcessOptions {
  readonly name: string
  /** Program and arguments. */
  readonly command: readonly string[]
  readonly logFile: string
}

const running = new Set<ChildProcess>()
process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})

export class TestProcess {
  #child: ChildProcess | undefined
  #ended: Promise<void> = Promise.resolve()
  /** How often it ended without being told to. */
  crashes = 0

  constructor(private readonly options: ProcessOptions) {}

  get name(): string {
    return this.options.name
  }

  /** Of what was spawned: a program that runs another one by exec keeps it. */
  get pid(): number | undefined {
    return this.#child?.pid
  }

  get alive(): boolean {
    return this.#child !== undefined
  }

  start(): void {
    const [program, ...args] = this.options.command
    const log = openSync(this.options.logFile, 'a')
    const child = spawn(program!, args, { stdio: ['ignore', log, log] })
    closeSync(log)
    running.add(child)
    this.#child = child
    this.#ended = new Promise(resolve => {
      const onEnd = (): void => {
        running.delete(child)
        if (this.#child === child) {
          this.#child = undefined
          this.crashes++
        }
        resolve()
      }
      child.once('exit', onEnd)
      child.once('error', onEnd)
    })
  }

  signal(signal: NodeJS.Signals): void {
    this.#child?.kill(signal)
  }

  /** Resolves when the process has ended. */
  async end(signal: NodeJS.Signals = 'SIGKILL'): Promise<void> {
    const child = this.#child
    this.#child = undefined
    child?.kill(signal)
    if (signal !== 'SIGKILL') child?.kill('SIGCONT')
    await this.#ended
  }

  words(): string {
    return readFileSync(this.options.logFile, 'utf8')
  }
}
