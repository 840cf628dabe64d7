/** `rain routes --watch` and `rain get wiring` as a user runs them, built, against a replica. */
import { existsSync, mkdtempSync, readFileSync, rmSync, unlinkSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { type RunningUp, runRain } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'
import { aHypervisor, connectMothership, secrets, type TestReplica } from '../support/hypervisors.js'
import { aPackage } from '../support/packages.js'

let hypervisor: TestReplica
let directory: string
const watching: RunningUp[] = []
beforeAll(async () => {
  hypervisor = await aHypervisor()
  await hypervisor.api.listen({ port: 0, host: '127.0.0.1' })
  await server('r1', 1, ['/*'])
})
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rain-routes-'))
})
afterEach(async () => {
  for (const { child, ended } of watching.splice(0)) {
    child.kill('SIGTERM')
    await ended
  }
  rmSync(directory, { recursive: true, force: true })
})
afterAll(() => hypervisor.close())

async function server(id: string, port: number, urls: readonly string[]): Promise<void> {
  const body = { id, address: `http://127.0.0.1:${port}`, urls }
  const { status, text } = await hypervisor.rest('admin')('POST', '/rainservers/', body)
  if (status >= 300) throw new Error(`${status} ${text}`)
}

function start(args: readonly string[]): RunningUp {
  const { port } = hypervisor.api.server.address() as AddressInfo
  return runRain([...args, '--url', `http://127.0.0.1:${port}`, '--token', secrets.viewer])
}
async function rain(...args: readonly string[]): Promise<{ code: number; said: string }> {
  const run = start(args)
  return { code: await run.ended, said: run.said() }
}
function watch(...args: readonly string[]): RunningUp {
  const run = start(['routes', '--watch', ...args])
  watching.push(run)
  return run
}

const at = (name: string): string => join(directory, name)
const read = (name: string): string => (existsSync(at(name)) ? readFileSync(at(name), 'utf8') : '')
const linesOf = (name: string): number => read(name).split('\n').length - 1

it('writes the file when the routes change, each time as a whole, and then runs the command', async () => {
  // What the command reads is what was written.
  watch('--format', 'nginx', '--out', at('rain.conf'), '--run', `grep -c upstream ${at('rain.conf')} >> ${at('runs')}`)
  await waitUntil('it is written and run', () => linesOf('runs') === 1)
  expect(read('rain.conf')).toContain('location ^~ "/"')
  await server('r2', 2, ['/shop/*'])
  await waitUntil('it is run again', () => linesOf('runs') === 2)
  expect(read('rain.conf')).toContain('location ^~ "/shop/"')
  const [before = 0, after = 0] = read('runs').trim().split('\n').map(Number)
  expect(after).toBeGreaterThan(before)
  expect(existsSync(at('rain.conf.new'))).toBe(false)
})

it('runs a command that failed again, until it has taken what was written', async () => {
  writeFileSync(at('broken'), '')
  const run = `echo ran >> ${at('runs')}; test ! -e ${at('broken')}`
  const { said } = watch('--format', 'nginx', '--out', at('rain.conf'), '--run', run)
  await waitUntil('it fails', () => said().includes('ended with 1'))
  const failed = linesOf('runs')
  unlinkSync(at('broken'))
  await waitUntil('it is run again', () => linesOf('runs') > failed)
  expect(said().match(/wrote/g)).toHaveLength(1)
})

it('shows the table once, and again when it is another one', async () => {
  const { said } = watch()
  await waitUntil('it is shown', () => said().includes('PATTERN'))
  await server('r3', 3, ['/news/*'])
  await waitUntil('it is another one', () => said().includes('/news/*'))
  expect(said().match(/PATTERN/g)).toHaveLength(2)
})

it('goes on where a replica does not answer, and ends where it never will', async () => {
  const [port, token] = ['1', secrets.viewer]
  const away = runRain(['routes', '--watch', '--url', `http://127.0.0.1:${port}`, '--token', token])
  watching.push(away)
  await waitUntil('it says so twice', () => (away.said().match(/^rain: /gm) ?? []).length >= 2)
  expect(away.child.exitCode).toBeNull()
  const { port: real } = hypervisor.api.server.address() as AddressInfo
  const stranger = runRain(['routes', '--watch', '--url', `http://127.0.0.1:${real}`, '--token', 'rain_nobody'])
  expect(await stranger.ended).not.toBe(0)
})

it('without --watch ends with what its command came to, and refuses a command that would never run', async () => {
  const out = ['--format', 'nginx', '--out', at('rain.conf')]
  expect((await rain('routes', ...out, '--run', 'false')).code).toBe(1)
  // Nothing has changed since.
  expect((await rain('routes', ...out, '--run', 'false')).code).toBe(0)
  expect(await rain('routes', '--run', 'true')).toMatchObject({ said: expect.stringContaining('--run needs --out') })
  expect((await rain('routes', '--out', at('table'))).code).toBe(0)
  expect(read('table')).toMatch(/^PATTERN +RAIN SERVER/)
})

it('says whom each rain server is wired to and why, and what has no copy', async () => {
  await connectMothership(hypervisor, 'm1')
  const admin = hypervisor.rest('admin')
  for (const id of ['shop', 'cart']) {
    const bytes = await aPackage({
      'meta.json': JSON.stringify({ id, version: '1.0', url: `/${id}`, views: { index: {} } }),
      'client/templates/index.html': id,
    })
    expect((await admin('POST', '/webcomponent', bytes)).status).toBe(201)
  }
  expect((await admin('POST', '/webcomponent/shop/1.0?wait=placed', { id: 'shop.1' })).status).toBeLessThan(300)
  let table = ''
  await waitUntil('it is wired', async () => {
    table = (await rain('get', 'wiring')).said
    return /^r1 .*m1 \(/m.test(table)
  })
  expect(table).toMatch(/^RAIN SERVER +WIRES +SHORT OF +WITHOUT COPIES$/m)
  // Nobody has said yet that it runs.
  expect(table).toMatch(/^r1 +m1 \(covers 1\) +shop\/1\.0\.0 \(0 of 1\) +cart\/1\.0\.0$/m)
  const one = await rain('get', 'wiring', 'r1', '--json')
  expect(one.code).toBe(0)
  expect(JSON.parse(one.said)).toMatchObject([
    { id: 'r1', wires: [{ mothership: 'm1' }], withoutCopies: ['cart/1.0.0'] },
  ])
  const nobody = await rain('get', 'wiring', 'nobody')
  expect([nobody.code === 0, nobody.said]).toEqual([false, expect.stringContaining('nobody')])
})
