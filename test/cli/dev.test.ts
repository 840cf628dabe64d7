/** `rain dev` without the cloud's pages: how it begins, and that the component runs here. */

import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, expect, it } from 'vitest'
import { type RunningUp, runRain } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'
import { aHypervisor, secrets, type TestReplica } from '../support/hypervisors.js'

let hypervisor: TestReplica
let directory: string
let running: RunningUp | undefined
beforeAll(async () => {
  hypervisor = await aHypervisor()
  await hypervisor.api.listen({ port: 0, host: '127.0.0.1' })
})
afterAll(() => hypervisor.close())
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rain-write-'))
})
afterEach(async () => {
  running?.child.kill('SIGINT')
  expect(await running?.ended).toBeDefined()
  rmSync(directory, { recursive: true, force: true })
})

function dev(...args: readonly string[]): RunningUp {
  const { port } = hypervisor.api.server.address() as AddressInfo
  running = runRain(['dev', directory, '--cloud', `http://127.0.0.1:${port}`, '--port', '0', ...args])
  return running
}

function write(files: Readonly<Record<string, string>>): void {
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), text)
  }
}

const rainServers = (): string[] => [...hypervisor.replica.maps.map.all('rainservers')].map(([id]) => id)

it('runs a component that keeps state, too, and is a rain server of the cloud for as long as it runs', async () => {
  write({
    'meta.json': JSON.stringify({ id: 'counter', version: '1.0', state: 'kept', views: { index: {} } }),
    'client/templates/index.html': '{{n}}',
    'server/data.js': `
      console.log('loaded')
      exports.index = (environment, callback) => callback(null, { n: 1 })`,
  })
  const { said, child, ended } = dev('--token', secrets.admin)
  await waitUntil('it runs', () => /counter\/1\.0 runs$/m.test(said()), 20_000).catch(error => {
    throw new Error(`${(error as Error).message}: ${said()}`)
  })
  await waitUntil('what it prints is told', () => /^counter: loaded$/m.test(said()))
  expect(rainServers()).toEqual([expect.stringMatching(/^dev-.*-counter-\d+$/)])
  child.kill('SIGINT')
  expect(await ended).toBe(0)
  await waitUntil('it is none any more', () => rainServers().length === 0)
}, 60_000)

it('does not begin with what is wrong', async () => {
  write({ 'meta.json': '{"id": "counter", "version": "1"}' })
  const { said, ended } = dev('--token', secrets.admin)
  expect([await ended, said()]).toEqual([
    1,
    expect.stringContaining(`${directory}/meta.json:1:19: /version: "1" is not`),
  ])
})

it('needs a token that may make a credential, and leaves nothing behind without', async () => {
  write({ 'meta.json': '{"id": "counter", "version": "1.0"}' })
  const { said, ended } = dev('--token', secrets.operator)
  expect([await ended, said()]).toEqual([1, expect.stringContaining('it needs an admin token')])
  expect(rainServers()).toEqual([])
})
