/**
 * Everything that a fresh clone needs, done once: system packages, npm packages, the build. Plain Node, because nothing
 * else is there yet. What is up to date is left alone, so that later runs lose no time here.
 */
import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { chmodSync, existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const root = fileURLToPath(new URL('..', import.meta.url))
const nodeMin = [20, 19]
/** Programs that the cloud runs, and the Debian packages that hold them. */
const programs = { etcd: 'etcd-server', etcdctl: 'etcd-client', haproxy: 'haproxy', prometheus: 'prometheus' }

/** Programs that some tests need; these are skipped where they cannot be had. */
const testPrograms = { chromium: 'chromium', nginx: 'nginx-light' }

// HAProxy is where only root's PATH looks.
process.env.PATH = `${process.env.PATH}:/usr/local/sbin:/usr/sbin:/sbin`

const say = text => process.stdout.write(`${text}\n`)

class SetupError extends Error {}

/** Ends the process with one line when something is missing that it may not install itself. */
export function setup({ forTests = false } = {}) {
  try {
    checkNode()
    systemPackages(programs)
    if (forTests) packagesForTests()
    npmPackages()
    build()
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    process.stderr.write(`rain: ${error.message}\n`)
    process.exit(1)
  }
}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number)
  if (major > nodeMin[0] || (major === nodeMin[0] && minor >= nodeMin[1])) return
  throw new SetupError(`Node ${process.versions.node} is too old: ${nodeMin.join('.')} or later is needed`)
}

const has = program => spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0

function packagesForTests() {
  try {
    systemPackages(testPrograms)
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    say(`without ${Object.keys(testPrograms).join(' or ')} some tests are skipped: ${error.message}`)
  }
}

function systemPackages(programs) {
  const missing = Object.keys(programs).filter(program => !has(program))
  if (missing.length === 0) return
  const packages = missing.map(program => programs[program])
  const command = `apt-get install --no-install-recommends ${packages.join(' ')}`
  const rights = process.getuid?.() === 0 ? [] : ['sudo', '-n']
  const may = has('apt-get') && (rights.length === 0 || (has('sudo') && spawnSync('sudo', ['-n', 'true']).status === 0))
  if (!may || process.env.RAIN_NO_INSTALL) {
    throw new SetupError(`not installed: ${missing.join(', ')}. As root: apt-get update && ${command}`)
  }
  say(`installing ${packages.join(', ')} …`)
  withoutServices(rights, () => {
    apt(rights, ['update', '-qq'])
    apt(rights, ['install', '-y', '-qq', '--no-install-recommends', ...packages])
  })
  const still = Object.keys(programs).filter(program => !has(program))
  if (still.length > 0) throw new SetupError(`could not install ${still.join(', ')}. As root: ${command}`)
}

function apt(rights, args) {
  const [program, ...rest] = [
    ...rights,
    'env',
    'DEBIAN_FRONTEND=noninteractive',
    'apt-get',
    '-o',
    'DPkg::Lock::Timeout=120',
    ...args,
  ]
  const { status, stdout, stderr } = spawnSync(program, rest, { encoding: 'utf8' })
  if (status === 0) return
  const said = `${stdout}\n${stderr}`.split('\n').find(line => line.startsWith('E:')) ?? 'no reason given'
  throw new SetupError(`apt-get ${args[0]} failed: ${said}`)
}

/** Debian starts what it installs: members of `up` want no neighbours on their ports. */
function withoutServices(rights, install) {
  const policy = '/usr/sbin/policy-rc.d'
  const ours = rights.length === 0 && !existsSync(policy)
  if (ours) {
    writeFileSync(policy, '#!/bin/sh\nexit 101\n')
    chmodSync(policy, 0o755)
  }
  try {
    install()
  } finally {
    if (ours) rmSync(policy, { force: true })
  }
}

const digest = (...texts) => texts.reduce((hash, text) => hash.update(text), createHash('sha256')).digest('hex')

function upToDate(stampFile, wanted) {
  return existsSync(stampFile) && readFileSync(stampFile, 'utf8') === wanted
}

function npmPackages() {
  const stampFile = join(root, 'node_modules', '.rain-stamp')
  const wanted = digest(readFileSync(join(root, 'package-lock.json')), process.version)
  if (upToDate(stampFile, wanted)) return
  say('npm ci …')
  run('npm', ['ci', '--include', 'dev', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel', 'error'])
  writeFileSync(stampFile, wanted)
}

/** By the content of the sources, so that a checkout of another version is noticed whatever its times say. */
function build() {
  const sources = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.ts'))
    .sort()
  const texts = sources.flatMap(name => [name, readFileSync(join(root, 'src', name))])
  const configs = ['deploy/build.mjs', 'package-lock.json'].map(name => readFileSync(join(root, name)))
  const wanted = digest(...texts, ...configs)
  const stampFile = join(root, 'dist', '.rain-stamp')
  if (upToDate(stampFile, wanted)) return
  say('building …')
  run('node', [join('deploy', 'build.mjs')])
  writeFileSync(stampFile, wanted)
}

function run(program, args) {
  try {
    execFileSync(program === 'node' ? process.execPath : program, args, {
      cwd: root,
      stdio: ['ignore', 'inherit', 'inherit'],
    })
  } catch (error) {
    throw new SetupError(`${program} ${args[0]} failed (${error.status ?? error.code})`)
  }
}
