/** The runs of `npm run simulate`, as many as are enough to meet everything that has to be met. */
import { spawn, spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { enoughRuns } from './expected.js'

const root = join(import.meta.dirname, '..', '..')

/** Its output, and how it ended. */
async function simulate(...args: readonly string[]): Promise<{ said: string; code: number | null }> {
  const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
  const built = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.simulation.json'], { cwd: root, encoding: 'utf8' })
  if (built.status !== 0) throw new Error(built.stdout + built.stderr)
  const entry = join(root, 'dist-simulation', 'test', 'simulation', 'main.js')
  const child = spawn(process.execPath, [entry, ...args], { cwd: root, stdio: ['ignore', 'pipe', 'inherit'] })
  let said = ''
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    said += text
  })
  const code = await new Promise<number | null>(resolve => child.on('close', resolve))
  return { said, code }
}

describe('the simulated cloud', () => {
  it(`keeps its promises in ${enoughRuns} runs, and meets every fault and every rare branch in them`, async () => {
    const { said, code } = await simulate('--seeds', String(enoughRuns))
    process.stdout.write(said)
    expect(code, said).toBe(0)
    expect(said).toMatch(new RegExp(`^${enoughRuns} seeds, 0 failed`, 'm'))
  }, 1_200_000)
})
