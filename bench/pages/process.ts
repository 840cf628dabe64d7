/** Processes that a benchmark starts, loads and looks at from outside. */
import { type ChildProcess, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** Of Linux: a clock tick, ms. */
const tickMs = 10

export class Running {
  private constructor(readonly child: ChildProcess) {}

  /** Resolves when a line of its output says so; throws when it ends before. */
  static start(args: readonly string[], ready: RegExp | undefined, env: NodeJS.ProcessEnv = {}): Promise<Running> {
    const child = spawn(process.execPath, args, {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, NODE_ENV: 'production', ...env },
    })
    const running = new Running(child)
    return new Promise((resolve, reject) => {
      let said = ''
      child.once('error', reject)
      child.once('exit', code => reject(new Error(`${args[0]} ended with ${code} before it was ready:\n${said}`)))
      child.stdout!.setEncoding('utf8').on('data', (text: string) => {
        said = (said + text).slice(-4_000)
        if (ready?.test(said)) resolve(running)
      })
      if (!ready) resolve(running)
    })
  }

  get pid(): number {
    return this.child.pid!
  }

  /** Of all its threads since it began, ms of processor time. */
  cpuMs(): number {
    const stat = readFileSync(`/proc/${this.pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return (Number(fields[11]) + Number(fields[12])) * tickMs
  }

  async end(signal: NodeJS.Signals = 'SIGTERM'): Promise<void> {
    if (this.child.exitCode !== null || this.child.signalCode !== null) return
    const gone = new Promise(resolve => this.child.once('exit', resolve))
    this.child.kill(signal)
    const late = setTimeout(() => this.child.kill('SIGKILL'), 15_000)
    await gone
    clearTimeout(late)
  }
}
