/**
 * Keeps one HAProxy at what is wanted: through the runtime API where that can do it, by a seamless reload (coalesced,
 * at most one a second) where it cannot. One that dies is started again; one that an earlier agent left behind hands
 * its sockets over. A configuration that HAProxy refuses is never loaded: the last good one goes on.
 */
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { rename, rm, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { CloudError } from '../cloud/errors.js'
import type { Clock, Log } from '../hypervisor/ports.js'
import { stepsBetween } from './commands.js'
import { exactMapFile, prefixMapFile, renderExactMap, renderPrefixMap } from './maps.js'
import { type Frame, renderConfig } from './render.js'
import { ask, parseGood, parseMapIds, runCommands } from './runtime.js'
import { beginning, type Shape, sameFrame, type Up } from './shape.js'

export interface DirectorOptions {
  readonly program: string
  readonly frame: Frame
  readonly clock: Clock
  readonly log: Log
}

const reloadEveryMs = 1_000
const restartAfterMs = 500
const readyWithinMs = 5_000
/** A server that is good is called so by the first check, a fifth of a second after it came. */
const goodWithinMs = 1_000
const stopWithinMs = 3_000

export class Director {
  /** How often each way of changing HAProxy was taken. */
  readonly counts = { runtime: 0, reloads: 0, restarts: 0, failures: 0 }
  #child: ChildProcess | undefined
  /** What HAProxy runs with now; undefined when that is not known. */
  #running: Shape | undefined
  /** What the files say: never what HAProxy refused, because it may have to be started from them at any moment. */
  #filed: Shape | undefined
  #cancelRestart: (() => void) | undefined
  #reloadedAtMs = Number.NEGATIVE_INFINITY
  #stopped = false
  #underWay: Promise<void> = Promise.resolve()

  constructor(
    private readonly options: DirectorOptions,
    private shape: Shape,
  ) {}

  get pid(): number | undefined {
    return this.#child?.pid
  }

  /** Throws `misconfigured` when HAProxy cannot be started: then nothing of it is left. */
  async start(): Promise<void> {
    try {
      const up = this.#leftBehind() === undefined ? undefined : await this.#up()
      await this.#file(up ? beginning(this.shape, up) : this.shape)
      await this.#spawn()
    } catch (error) {
      this.#stopped = true
      this.#cancelRestart?.()
      throw error
    }
    await this.#complete().catch((error: unknown) => this.options.log.error({ err: error }, 'HAProxy lacks servers'))
  }

  /**
   * Resolves when HAProxy runs with this shape, or a later one, or will when it has been started again. Throws when it
   * refused.
   */
  apply(shape: Shape): Promise<void> {
    this.shape = shape
    const turn = this.#underWay.then(() => this.#follow())
    this.#underWay = turn.catch(() => undefined)
    return turn
  }

  async stop(): Promise<void> {
    this.#stopped = true
    this.#cancelRestart?.()
    await this.#underWay
    const child = this.#child
    if (!child || child.exitCode !== null || child.signalCode !== null) return
    const ended = new Promise<void>(resolve => child.once('exit', () => resolve()))
    child.kill('SIGTERM')
    const cancel = this.options.clock.after(stopWithinMs, () => child.kill('SIGKILL'))
    await ended
    cancel()
    await rm(this.#pidFile, { force: true })
  }

  get #pidFile(): string {
    return join(this.options.frame.directory, 'haproxy.pid')
  }

  get #configFile(): string {
    return join(this.options.frame.directory, 'haproxy.cfg')
  }

  async #follow(): Promise<void> {
    if (this.#stopped || this.#running === this.shape) return
    const before = this.#running
    if (before && sameFrame(before, this.shape) && (await this.#throughRuntime(before))) return
    await this.#reload()
  }

  /** False when HAProxy refused or did not answer: then a reload says it all. */
  async #throughRuntime(before: Shape): Promise<boolean> {
    const shape = this.shape
    let count: number
    try {
      // The files say the same, for the next start.
      await this.#writeFiles(shape)
      this.#filed = shape
      count = await this.#command(before, shape)
    } catch (error) {
      this.options.log.warn({ err: error }, 'the runtime API could not do it')
      this.#running = undefined
      return false
    }
    this.#running = shape
    if (count > 0) this.counts.runtime++
    return true
  }

  async #command(before: Shape, after: Shape): Promise<number> {
    const { socket } = this.options.frame
    const maps = parseMapIds(await ask(socket, 'show map'))
    const { first, second, awaited } = stepsBetween(before, after, (await this.#up()) ?? new Set(), maps)
    await runCommands(socket, first)
    if (awaited.length > 0) await this.#until(() => this.#haveGood(awaited), goodWithinMs)
    await runCommands(socket, second)
    return first.length + second.length
  }

  async #haveGood(groups: readonly (readonly string[])[]): Promise<boolean> {
    const good = parseGood(await ask(this.options.frame.socket, 'show servers state'))
    const slots = new Set(good.map(each => each.slot))
    return groups.every(group => group.some(each => slots.has(each)))
  }

  /** Undefined when HAProxy does not say. */
  async #up(): Promise<Up | undefined> {
    try {
      const good = parseGood(await ask(this.options.frame.socket, 'show servers state'))
      return new Set(good.map(each => each.address))
    } catch {
      return undefined
    }
  }

  async #reload(): Promise<void> {
    const { clock, log } = this.options
    const waitMs = this.#reloadedAtMs + reloadEveryMs - clock.nowMs()
    if (waitMs > 0) await this.#pause(waitMs)
    if (this.#stopped) return
    this.#reloadedAtMs = clock.nowMs()
    const up = await this.#up()
    const shape = up ? beginning(this.shape, up) : this.shape
    await this.#file(shape)
    const child = this.#child
    // One that is being started again reads the files that were just written.
    if (!child) return
    const worker = await this.#worker()
    this.#running = undefined
    child.kill('SIGUSR2')
    const came = await this.#until(async () => {
      const now = await this.#worker()
      return (now !== undefined && now !== worker) || this.#child !== child
    })
    if (this.#child !== child) return
    if (!came) throw this.#later(`HAProxy did not reload within ${readyWithinMs / 1000} s`)
    this.#running = shape
    this.counts.reloads++
    log.info({ groups: shape.pages.length }, 'HAProxy reloaded')
    await this.#complete()
  }

  /** After a start: who was not known to be good comes in now. */
  async #complete(): Promise<void> {
    const before = this.#running
    if (!before || before === this.shape || !sameFrame(before, this.shape)) return
    if (!(await this.#throughRuntime(before))) throw this.#later('HAProxy does not take what is wanted')
  }

  /** A reload that did not come about, for whatever reason, is tried again. */
  #later(why: string): CloudError {
    const { clock, log } = this.options
    this.counts.failures++
    clock.after(reloadEveryMs, () => {
      this.apply(this.shape).catch((error: unknown) => log.error({ err: error }, 'HAProxy could not be reloaded'))
    })
    return new CloudError('timeout', why)
  }

  /** Has the files say this. When HAProxy refuses it, they say what they said before. */
  async #file(shape: Shape): Promise<void> {
    await this.#writeFiles(shape)
    try {
      await this.#check()
    } catch (error) {
      if (this.#filed) await this.#writeFiles(this.#filed)
      throw error
    }
    this.#filed = shape
  }

  /** Whole files in place of old ones: HAProxy may read them at any moment. */
  async #writeFiles(shape: Shape): Promise<void> {
    const { directory } = this.options.frame
    const files = {
      [exactMapFile]: renderExactMap(shape),
      [prefixMapFile]: renderPrefixMap(shape),
      'haproxy.cfg': renderConfig(shape, this.options.frame),
    }
    try {
      for (const [name, text] of Object.entries(files)) {
        await writeFile(join(directory, `${name}.new`), text, { mode: 0o600 })
        await rename(join(directory, `${name}.new`), join(directory, name))
      }
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw new CloudError('misconfigured', `--data-dir ${directory} cannot be written (${code ?? 'unknown'})`)
    }
  }

  #check(): Promise<void> {
    const { program } = this.options
    return new Promise((resolve, reject) => {
      execFile(program, ['-c', '-q', '-f', this.#configFile], { timeout: 10_000 }, (error, _out, said) => {
        if (!error) return resolve()
        this.counts.failures++
        const missing = (error as NodeJS.ErrnoException).code === 'ENOENT'
        const why = missing ? `${program} is not installed` : `HAProxy refuses its configuration: ${firstAlert(said)}`
        reject(new CloudError('misconfigured', why, {}, { cause: error }))
      })
    })
  }

  async #spawn(): Promise<void> {
    const { program, frame, log } = this.options
    const shape = this.#filed
    const left = this.#leftBehind()
    const takeOver = left === undefined ? [] : ['-x', frame.socket, '-sf', String(left)]
    const args = ['-W', '-f', this.#configFile, '-p', this.#pidFile, ...takeOver]
    const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] })
    this.#child = child
    let said = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      said = (said + text).slice(-4_000)
    })
    child.once('error', () => this.#ended(child, said))
    child.once('exit', () => this.#ended(child, said))
    const came = await this.#until(async () => this.#child !== child || (await this.#worker()) !== undefined)
    if (this.#child !== child || !came) {
      child.kill('SIGKILL')
      throw new CloudError('misconfigured', `HAProxy does not start: ${firstAlert(said)}`)
    }
    this.#running = shape
    await writeFile(this.#pidFile, `${child.pid}\n`, { mode: 0o600 })
    log.info({ pid: child.pid, tookOver: left ?? null }, 'HAProxy runs')
  }

  #ended(child: ChildProcess, said: string): void {
    if (this.#child !== child) return
    this.#child = undefined
    this.#running = undefined
    if (this.#stopped) return
    this.counts.restarts++
    this.options.log.error({ code: child.exitCode, signal: child.signalCode, said: firstAlert(said) }, 'HAProxy ended')
    this.#restart()
  }

  /** One at a time, however many reasons there are. */
  #restart(): void {
    if (this.#stopped) return
    this.#cancelRestart?.()
    this.#cancelRestart = this.options.clock.after(restartAfterMs, () => void this.#again())
  }

  async #again(): Promise<void> {
    if (this.#stopped || this.#child) return
    const turn = this.#underWay.then(async () => {
      if (this.#stopped || this.#child) return
      await this.#spawn()
      await this.#complete()
    })
    this.#underWay = turn.catch(() => undefined)
    try {
      await turn
    } catch (error) {
      this.options.log.error({ err: error }, 'HAProxy could not be started again')
      if (!this.#child) this.#restart()
    }
  }

  /** The master process of an earlier agent that was killed: by its pid file, if it runs with our configuration. */
  #leftBehind(): number | undefined {
    try {
      const pid = Number(readFileSync(this.#pidFile, 'utf8').trim())
      const command = readFileSync(`/proc/${pid}/cmdline`, 'utf8').split('\0')
      return pid > 1 && command.includes(this.#configFile) ? pid : undefined
    } catch {
      return undefined
    }
  }

  async #worker(): Promise<string | undefined> {
    try {
      return /^Pid: (\d+)/m.exec(await ask(this.options.frame.socket, 'show info'))?.[1]
    } catch {
      return undefined
    }
  }

  async #until(check: () => Promise<boolean>, withinMs = readyWithinMs): Promise<boolean> {
    const untilMs = this.options.clock.nowMs() + withinMs
    while (!(await check())) {
      if (this.options.clock.nowMs() > untilMs) return false
      await this.#pause(20)
    }
    return true
  }

  #pause(ms: number): Promise<void> {
    return new Promise(resolve => this.options.clock.after(ms, resolve))
  }
}

const firstAlert = (said: string): string => {
  const lines = said.split('\n')
  const line = lines.find(each => each.includes('[ALERT]')) ?? lines.find(each => each.includes('[WARNING]')) ?? ''
  return line.replace(/^\[\w+\]\s*\(\d+\)\s*:\s*/, '').trim() || 'no reason given'
}
