/** The command as a user runs it, built, against a replica. */

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import type { AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { runRain } from '../support/cloud.js'
import { aHypervisor, connectMothership, secrets, type TestReplica } from '../support/hypervisors.js'
import { running } from '../support/records.js'

let hypervisor: TestReplica
let directory: string
beforeAll(async () => {
  hypervisor = await aHypervisor()
  await hypervisor.api.listen({ port: 0, host: '127.0.0.1' })
  await connectMothership(hypervisor, 'm1')
  directory = mkdtempSync(join(tmpdir(), 'rain-cli-'))
})
afterAll(async () => {
  rmSync(directory, { recursive: true, force: true })
  await hypervisor.close()
})

async function rain(...args: readonly string[]): Promise<{ code: number; said: string }> {
  const { port } = hypervisor.api.server.address() as AddressInfo
  const run = runRain([...args, '--url', `http://127.0.0.1:${port}`, '--token', secrets.admin])
  return { code: await run.ended, said: run.said() }
}

function write(version: string, more: object = {}): string {
  writeFileSync(join(directory, 'meta.json'), JSON.stringify({ id: 'news', version, ...more }))
  return directory
}

it('deploys, activates, tells the history and goes back', async () => {
  expect(await rain('deploy', write('1.0'))).toMatchObject({ code: 0 })
  expect(await rain('deploy', write('1.1'), '--inactive')).toMatchObject({ code: 0 })
  expect(await rain('activate', 'news/1.1')).toEqual({ code: 0, said: 'news/1.1 is active\n' })
  const { said } = await rain('history', 'news')
  expect(said).toMatch(/WHAT.*\n.*admin {2}activate {2}1.1 {6}1.0 {3}1.1\n.*deploy {4}1.0 {6}- {5}1.0\n/)
  expect(said).toMatch(/^active: 1.1; a rollback goes to: 1.0$/m)
  expect(await rain('rollback', 'news')).toEqual({ code: 0, said: 'news: 1.1 -> 1.0\n' })
  expect(await rain('rollback', 'news')).toMatchObject({ code: 1, said: expect.stringContaining('nothing was active') })
  expect(await rain('rollback', 'news', '--to', '1.1')).toEqual({ code: 0, said: 'news: 1.0 -> 1.1\n' })
  expect(await rain('deactivate', 'news/1.1')).toEqual({ code: 0, said: 'news/1.1 is inactive\n' })
})

it('says what is wrong with a package as validate does, and of a version that changed both digests', async () => {
  expect(await rain('deploy', write('1.0', { runtime: 'x' }))).toEqual({
    code: 1,
    said: `${directory}/meta.json:1:30: /runtime: must be node\n`,
  })
  const { code, said } = await rain('deploy', write('1.0', { description: 'other' }))
  expect([code, said.match(/sha256:[0-9a-f]{64}/g)?.length]).toEqual([1, 2])
})

it('starts a version that does not run before it goes back to it, with as many instances', async () => {
  const { maps } = hypervisor.replica
  await rain('deploy', write('2.0'), '--inactive')
  await rain('deploy', write('2.1'))
  await rain('rollback', 'news', '--to', '2.0', '--force')
  await rain('activate', 'news/2.1')
  const said = (on: string): string[] => [...maps.map.instancesOf(on)]
  expect(await rain('run', 'news/2.1', '--count', '2', '--wait', 'placed')).toMatchObject({ code: 0 })
  const run = (version: string): void => {
    for (const id of said(version)) void report(id)
  }
  const session = maps.map.get('sessions', 'mothership/m1')!.modified
  const report = (instance: string): void => {
    const { value } = running('m1', instance) as { value: { epoch: number; generation: number } }
    hypervisor.replica.observations.report('m1', session, [
      { instance, epoch: value.epoch, generation: 0, phase: 'running' },
    ])
  }
  run('news/2.1.0')
  const unsubscribe = maps.onChange(() => run('news/2.0.0'))
  try {
    expect(await rain('rollback', 'news')).toEqual({
      code: 0,
      said: 'news/2.0 does not run: it is started 2 times first\nnews: 2.1 -> 2.0\n',
    })
  } finally {
    unsubscribe()
  }
  expect(said('news/2.0.0')).toHaveLength(2)
})
