/**
 * Run by vitest once before all tests: components run in processes of their own, whose program (`dist/mothership/worker.js`)
 * is the built one, so `dist/` is brought up to date with `src/` when it is older. `builtWorker` is its path.
 * Wrong types do not stop tests, here as little as in vitest itself: that is what `npm run check` is for.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const root = join(import.meta.dirname, '..', '..')
const stamp = join(root, 'dist', '.built-for-tests')

export const builtWorker = join(root, 'dist', 'mothership', 'worker.js')

function upToDate(): boolean {
  if (!existsSync(stamp) || !existsSync(builtWorker)) return false
  const builtMs = statSync(stamp).mtimeMs
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
  return files.every(file => statSync(join(root, 'src', file)).mtimeMs < builtMs)
}

export function setup(): void {
  if (upToDate()) return
  const startedAt = new Date()
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, 'deploy', 'build.mjs')], {
    cwd: root,
    encoding: 'utf8',
  })
  if (!existsSync(builtWorker)) throw new Error(`the build failed:\n${stdout}${stderr}`)
  if (status === 0) writeFileSync(stamp, `${startedAt.toISOString()}\n`)
  else console.warn(stdout + stderr)
}
