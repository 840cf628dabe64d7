/**
 * Whether JavaScript can be parsed, without running it. The engine itself judges, in a thread of its own: what is sent
 * to the cloud must not hold up the replica that looks at it. Where a mistake is, the engine does not tell of ES modules;
 * that is asked of another parser, whose verdict counts for nothing else.
 */
import { Worker } from 'node:worker_threads'
import { type Options, parse } from 'acorn'
import type { FieldError } from '../errors.js'

export interface Script {
  readonly path: string
  readonly text: string
  readonly kind: 'module' | 'script'
}

const withinMs = 10_000
const heapMiB = 256
/** The other parser runs here and not in the thread, and is slow where a script is large. */
const locatedMax = 256 * 1024

const judge = `
const { parentPort } = require('node:worker_threads')
const { Script, SourceTextModule } = require('node:vm')
parentPort.on('message', ({ path, text, kind }) => {
  try {
    if (kind === 'module') new SourceTextModule(text, { identifier: path })
    else new Script('(function (exports, require, module, __filename, __dirname) {' + text + '\\n})', { filename: path })
    parentPort.postMessage(undefined)
  } catch (error) {
    parentPort.postMessage({ message: String(error.message), line: Number(/:(\\d+)\\n/.exec(error.stack)?.[1]) })
  }
})`

interface Complaint {
  readonly message: string
  /** NaN where it is not told. */
  readonly line: number
}

export async function syntaxErrors(scripts: readonly Script[]): Promise<FieldError[]> {
  if (scripts.length === 0) return []
  const errors: FieldError[] = []
  const thread = new Worker(judge, {
    eval: true,
    env: {},
    execArgv: ['--experimental-vm-modules', '--no-warnings'],
    resourceLimits: { maxOldGenerationSizeMb: heapMiB },
  })
  try {
    for (const script of scripts) {
      const complaint = await judged(thread, script)
      if (complaint) errors.push(located(script, complaint))
      if (complaint?.message === gaveUp) break
    }
  } finally {
    await thread.terminate()
  }
  return errors
}

const gaveUp = `cannot be parsed within ${withinMs / 1000} s and ${heapMiB} MiB: make it smaller`

function judged(thread: Worker, script: Script): Promise<Complaint | undefined> {
  return new Promise(resolve => {
    const giveUp = (): void => settle({ message: gaveUp, line: Number.NaN })
    const timer = setTimeout(giveUp, withinMs)
    const settle = (complaint: Complaint | undefined): void => {
      clearTimeout(timer)
      thread.off('message', settle).off('error', giveUp).off('exit', giveUp)
      resolve(complaint)
    }
    thread.on('message', settle).on('error', giveUp).on('exit', giveUp)
    thread.postMessage(script)
  })
}

function located({ path, text, kind }: Script, { message, line }: Complaint): FieldError {
  const options: Options =
    kind === 'module'
      ? { ecmaVersion: 'latest', sourceType: 'module' }
      : {
          ecmaVersion: 'latest',
          sourceType: 'script',
          allowReturnOutsideFunction: true,
          allowAwaitOutsideFunction: false,
        }
  try {
    if (text.length <= locatedMax) parse(text, { ...options, allowHashBang: true })
  } catch (error) {
    const { loc } = error as { loc?: { line: number; column: number } }
    if (loc) return { path, message, line: loc.line, column: loc.column + 1 }
  }
  return { path, message, ...(Number.isNaN(line) ? {} : { line }) }
}
