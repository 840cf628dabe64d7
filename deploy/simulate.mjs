/** `npm run simulate -- --seeds N [--from S] | --seed X [--trace]`: set up, build the simulated cloud, run it. */
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { root, setup } from './setup.mjs'

setup()
const tsc = join(root, 'node_modules', 'typescript', 'bin', 'tsc')
const built = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.simulation.json'], { cwd: root, stdio: 'inherit' })
if (built.status !== 0) process.exit(1)
const entry = join(root, 'dist-simulation', 'test', 'simulation', 'main.js')
const { status } = spawnSync(process.execPath, [entry, ...process.argv.slice(2)], { cwd: root, stdio: 'inherit' })
process.exit(status ?? 1)
