/** `npm run up` and `npm run down`: set up what is missing, then hand over to `rain`. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { root, setup } from './setup.mjs'

const down = process.argv[2] === 'down'
const args = down ? process.argv.slice(2) : ['up', ...process.argv.slice(2)]
const program = join(root, 'dist', 'main.js')

if (!down) setup()
else if (!existsSync(program)) {
  process.stderr.write('rain: nothing was built here, so no cloud was started here\n')
  process.exit(1)
}

const child = spawn(process.execPath, [program, ...args], { stdio: 'inherit' })
// A signal to this process alone is passed on; the terminal's Ctrl-C reaches the child itself.
process.on('SIGINT', () => undefined)
for (const signal of ['SIGTERM', 'SIGHUP']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(signal === null ? code : 1))
