/**
 * `npm run test:faults -- [NAMES]`: faults of real processes, row by row; what was measured is kept as a table in
 * `bench/results/faults.md`. Rows that were not run keep what they had.
 */
import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { arch, cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { root, setup } from './setup.mjs'

setup()

const scratch = mkdtempSync(join(tmpdir(), 'rain-faults-'))
const rowsFile = join(scratch, 'rows.jsonl')
const report = join(scratch, 'report.json')
const reporters = ['--reporter=default', '--reporter=json', `--outputFile.json=${report}`]
const vitest = join(root, 'node_modules', 'vitest', 'vitest.mjs')
const args = [vitest, 'run', '--config', 'vitest.faults.config.ts', ...reporters, ...process.argv.slice(2)]
const { status } = spawnSync(process.execPath, args, {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, RAIN_FAULT_ROWS: rowsFile },
})

const lines = text => text.split('\n').filter(line => line !== '')
const read = file => (existsSync(file) ? lines(readFileSync(file, 'utf8')).map(line => JSON.parse(line)) : [])
const results = join(root, 'bench', 'results')
const kept = join(results, 'faults.jsonl')
const rows = new Map()
for (const row of [...read(kept), ...read(rowsFile)]) rows.set(`${row.id} ${row.fault}`, row)
const number = row => Number(row.id.slice(1))
const sorted = [...rows.values()].sort((a, b) => number(a) - number(b) || a.fault.localeCompare(b.fault))

const [cpu] = cpus()
const machine = `${cpus().length} x ${cpu?.model ?? arch()}, ${Math.round(totalmem() / 2 ** 30)} GiB, Node ${process.versions.node}`
const table = [
  '| # | fault | figure | bar | ok | n | load |',
  '|---|---|---|---|---|---|---|',
  ...sorted.map(
    ({ id, fault, figure, bar, ok, n, load = '' }) =>
      `| ${id} | ${fault} | ${figure} | ${bar} | ${ok ? 'yes' : '**missed**'} | ${n} | ${load} |`,
  ),
].join('\n')
const words = `# Faults of real processes

\`npm run test:faults\` on ${machine}. Every process of the cloud, the clients and whatever else the machine does share
these cores; \`load\` is the load average of the machine at the end of the row. In every row that is listed, V1-V3, V6 and V7 held: what was acknowledged is there, one placement for each
epoch, no transaction of a term after a later one took over, REST linearizable (by the revisions of etcd's own log, and
by search), replicas' memories equal to etcd. The rows through HAProxy judge one thing only: that each key had one effect, and
what was acknowledged is there.

`
mkdirSync(results, { recursive: true })
writeFileSync(kept, sorted.map(row => `${JSON.stringify(row)}\n`).join(''))
writeFileSync(join(results, 'faults.md'), `${words}${table}\n`)
process.stdout.write(`\n${table}\n`)
for (const name of skipped()) process.stdout.write(`skipped: ${name}\n`)
rmSync(scratch, { recursive: true, force: true })
process.exit(status ?? 1)

function skipped() {
  const tests = existsSync(report)
    ? JSON.parse(readFileSync(report, 'utf8')).testResults.flatMap(each => each.assertionResults)
    : []
  return tests.filter(each => each.status !== 'passed' && each.status !== 'failed').map(each => each.fullName)
}
