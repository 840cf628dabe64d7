/** `npm test`: set-up, formatter and linter, types, every test; the last line counts. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { root, setup } from './setup.mjs'

setup({ forTests: true })

const startedMs = performance.now()
const modules = join(root, 'node_modules')
const scratch = mkdtempSync(join(tmpdir(), 'rain-test-'))
const counts = { passed: 0, failed: 0, skipped: 0 }
const skips = []

const node = args => spawnSync(process.execPath, args, { cwd: root, stdio: 'inherit' }).status ?? 1

/** One check that passes or fails as a whole. */
function check(name, args) {
  const ok = node(args) === 0
  counts[ok ? 'passed' : 'failed']++
  process.stdout.write(`${name}: ${ok ? 'ok' : 'FAILED'}\n`)
}

function vitest(name, config) {
  const report = join(scratch, `${name}.json`)
  const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
  const filters = process.argv.slice(2)
  const entry = join(modules, 'vitest', 'vitest.mjs')
  const status = node([entry, 'run', '--config', config, '--passWithNoTests', ...reporters, ...filters])
  const failedBefore = counts.failed
  try {
    for (const file of JSON.parse(readFileSync(report, 'utf8')).testResults) count(file)
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

if (process.argv.length === 2) {
  check('format and lint', [join(modules, '@biomejs', 'biome', 'bin', 'biome'), 'check', '--error-on-warnings', '.'])
  check('types', [join(modules, 'typescript', 'bin', 'tsc'), '-p', 'tsconfig.json'])
}
vitest('values', 'vitest.values.config.ts')
vitest('rooms', 'vitest.config.ts')
vitest('cloud', 'vitest.cloud.config.ts')
rmSync(scratch, { recursive: true, force: true })

for (const name of skips) process.stdout.write(`skipped: ${name}\n`)
const seconds = Math.round((performance.now() - startedMs) / 1000)
const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : ''
process.stdout.write(`in ${seconds} s\n${counts.passed} passed, ${counts.failed} failed${skipped}\n`)
process.exit(counts.failed > 0 ? 1 : 0)
