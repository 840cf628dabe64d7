/** Installs what is compared with, once and again when the lockfile changed: `node bench/peers/install.mjs`. */
import { spawnSync } from 'node:child_process'
import { copyFileSync, existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const here = file => fileURLToPath(new URL(file, import.meta.url))
const wanted = here('package-lock.json')
const installed = here('node_modules/installed-lock.json')

export function installOnce() {
  if (existsSync(installed) && readFileSync(installed).equals(readFileSync(wanted))) return
  process.stderr.write('bench/peers: npm ci --ignore-scripts (once, some minutes)\n')
  const { status } = spawnSync('npm', ['ci', '--ignore-scripts'], { cwd: here('.'), stdio: ['ignore', 2, 2] })
  if (status !== 0) throw new Error('Podium and OpenComponents could not be installed from npm')
  copyFileSync(wanted, installed)
}

if (process.argv[1] === fileURLToPath(import.meta.url)) installOnce()
