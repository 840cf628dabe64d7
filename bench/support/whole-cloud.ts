/** A whole cloud, by `rain up`, with the sample application. */
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { UpState } from '../../src/cli/up/state.js'

export interface WholeCloud {
  readonly dataDir: string
  readonly portBase: number
  state(): UpState
  close(): Promise<void>
}

const readyWithinMs = 120_000

export function startWholeCloud(portBase: number, ...args: readonly string[]): Promise<WholeCloud> {
  const dataDir = mkdtempSync(join(tmpdir(), 'rain-bench-cloud-'))
  const program = join(process.cwd(), 'dist', 'main.js')
  const flags = ['up', '--data-dir', dataDir, '--port-base', String(portBase), ...args]
  const child = spawn(process.execPath, [program, ...flags], { stdio: ['ignore', 'pipe', 'inherit'] })
  const ended = new Promise<void>(resolve => child.once('close', () => resolve()))
  const close = async (): Promise<void> => {
    child.kill('SIGINT')
    await ended
    rmSync(dataDir, { recursive: true, force: true })
  }
  const state = (): UpState => JSON.parse(readFileSync(join(dataDir, 'up.json'), 'utf8')) as UpState
  return new Promise((resolve, reject) => {
    let said = ''
    const late = setTimeout(() => child.kill('SIGINT'), readyWithinMs)
    child.stdout.setEncoding('utf8').on('data', (part: string) => {
      said += part
      if (!/^ready$/m.test(said)) return
      clearTimeout(late)
      resolve({ dataDir, portBase, state, close })
    })
    void ended.then(() => reject(new Error(`the cloud did not start: ${said.slice(-500)}`)))
  })
}
