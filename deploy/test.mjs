/**
 * `npm test`: set-up, formatter and linter, types, every test; the last line counts. What is tested with values alone
 * takes whatever the cores have left while all else waits for processes, and is shown when that is over.
 */
import { spawn } from 'node:child_process'
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, setup } from './setup.mjs'

setup({ forTests: true })

const startedMs = performance.now()
const modules = join(root, 'node_modules')
const scratch = mkdtempSync(join(tmpdir(), 'rain-test-'))
const counts = { passed: 0, failed: 0, skipped: 0 }
const skips = []

/** The exit status. */
const run = (program, args, output) =>
  new Promise(resolve => {
    const child = spawn(program, args, { cwd: root, stdio: ['inherit', output, output] })
    child.on('error', () => resolve(1)).on('close', status => resolve(status ?? 1))
  })
const node = args => run(process.execPath, args, 'inherit')

/** One check that passes or fails as a whole. */
async function check(name, args) {
  const ok = (await node(args)) === 0
  counts[ok ? 'passed' : 'failed']++
  process.stdout.write(`${name}: ${ok ? 'ok' : 'FAILED'}\n`)
}

const reportOf = name => join(scratch, `${name}.json`)

function vitestArgs(name, config) {
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${reportOf(name)}`]
  const filters = process.argv.slice(2)
  const entry = join(modules, 'vitest', 'vitest.mjs')
  return [entry, 'run', '--config', config, '--passWithNoTests', ...reporters, ...filters]
}

async function vitest(name, config) {
  countAll(name, await node(vitestArgs(name, config)))
}

/** Behind everything else: what measures real time hardly notices. The returned function waits for it, and shows it. */
function vitestBeside(name, config) {
  const file = join(scratch, `${name}.txt`)
  const output = openSync(file, 'w')
  const ended = run('nice', ['-n', '10', process.execPath, ...vitestArgs(name, config)], output)
  return async () => {
    const status = await ended
    closeSync(output)
    process.stdout.write(readFileSync(file))
    countAll(name, status)
  }
}

function countAll(name, status) {
  const failedBefore = counts.failed
  try {
    for (const file of JSON.parse(readFileSync(reportOf(name), 'utf8')).testResults) count(file)
  } catch {
    process.stdout.write(`${name}: no report was written\n`)
  }
  // An error outside of any test (a file that cannot be loaded, a rejection that nobody awaits) fails too.
  if (status !== 0 && counts.failed === failedBefore) counts.failed++
}

function count(file) {
  if (file.assertionResults.length === 0 && file.status === 'failed') counts.failed++
  for (const test of file.assertionResults) {
    if (test.status === 'passed') counts.passed++
    else if (test.status === 'failed') counts.failed++
    else {
      counts.skipped++
      skips.push(test.fullName)
    }
  }
}

const values = vitestBeside('values', 'vitest.values.config.ts')
if (process.argv.length === 2) {
  await check('format and lint', [
    join(modules, '@biomejs', 'biome', 'bin', 'biome'),
    'check',
    '--error-on-warnings',
    '.',
  ])
  await check('types', [join(modules, 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.json'])
}
await vitest('rooms', 'vitest.config.ts')
await vitest('cloud', 'vitest.cloud.config.ts')
await values()
rmSync(scratch, { recursive: true, force: true })

for (const name of skips) process.stdout.write(`skipped: ${name}\n`)
const seconds = Math.round((performance.now() - startedMs) / 1000)
const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
process.stdout.write(`in ${seconds} s\n${counts.passed} passed, ${counts.failed} failed${skipped}\n`)
process.exit(counts.failed > 0 ? 1 : 0)
