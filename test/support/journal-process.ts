/** The process of `journal-writer.ts`, as those who kill it see it. */
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { waitUntil } from './etcd.js'

export class JournalProcess {
  readonly #child: ChildProcess
  #said = ''
  #errors = ''

  constructor(program: string, journals: string, padding = 200) {
    this.#child = spawn(process.execPath, [program, journals, String(padding)], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.#child.stdout?.on('data', text => {
      this.#said += text
    })
    this.#child.stderr?.on('data', text => {
      this.#errors += text
    })
  }

  get lines(): readonly string[] {
    return this.#said.split('\n').slice(0, -1)
  }

  get found(): { readonly seq: number; readonly journal: string } | undefined {
    const [, seq, journal] = this.lines.find(each => each.startsWith('found '))?.split(' ') ?? []
    return journal === undefined ? undefined : { seq: Number(seq), journal }
  }

  /** The last change that is durable. */
  get durable(): number {
    const last = this.lines.findLast(each => each.startsWith('durable '))
    return last === undefined ? (this.found?.seq ?? 0) : Number(last.split(' ')[1])
  }

  async until(what: string, check: () => boolean): Promise<void> {
    await waitUntil(what, () => {
      if (this.#child.exitCode !== null) throw new Error(`it ended: ${this.#errors}`)
      return check()
    })
  }

  async kill(): Promise<void> {
    const ended = once(this.#child, 'close')
    this.#child.kill('SIGKILL')
    await ended
  }
}
