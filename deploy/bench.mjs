/** `npm run bench -- NAME`: set up, build the benchmarks, run one. */
import { spawnSync } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { root, setup } from './setup.mjs'

const [name, ...args] = process.argv.slice(2)
const known = readdirSync(join(root, 'bench'))
  .filter(file => file.endsWith('.ts') && file !== 'harness.ts')
  .map(file => file.slice(0, -3))
if (name === undefined || !known.includes(name)) {
  process.stderr.write(`usage: npm run bench -- NAME, one of: ${known.join(', ')}\n`)
  process.exit(name === '--help' ? 0 : 1)
}
setup()
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
const built = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.bench.json'], { cwd: root, stdio: 'inherit' })
const entry = join(root, 'dist-bench', 'bench', `${name}.js`)
if (built.status !== 0 || !existsSync(entry)) process.exit(1)
// Parts of a replica run as a replica is run.
const { replicaFlags } = await import(join(root, 'dist-bench', 'src', 'cli', 'up', 'processes.js'))
const { status } = spawnSync(process.execPath, [...replicaFlags, entry, ...args], { cwd: root, stdio: 'inherit' })
process.exit(status ?? 1)
