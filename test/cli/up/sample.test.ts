/** The sample application on a whole replica: deployed anew at every start of a cloud that has it already. */
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, expect, it } from 'vitest'
import { deploySample } from '../../../src/cli/up/sample.js'
import { Client } from '../../../src/sdk/client.js'
import { aHypervisor, secrets } from '../../support/hypervisors.js'

const cleanups: (() => unknown)[] = []
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup()
})

it('stays what it is when its files have changed meanwhile, and when a version was deactivated', async () => {
  const hypervisor = await aHypervisor()
  cleanups.push(() => hypervisor.close())
  const url = await hypervisor.api.listen({ host: '127.0.0.1', port: 0 })
  const client = new Client({ url, token: secrets.admin })
  const directory = mkdtempSync(join(tmpdir(), 'rain-sample-'))
  cleanups.push(() => rmSync(directory, { recursive: true }))
  cpSync(fileURLToPath(new URL('../../../deploy/sample/offers', import.meta.url)), join(directory, 'offers'), {
    recursive: true,
  })
  const sample = { page: '/offers/index', components: [{ dir: 'offers', instances: 0 }] }
  writeFileSync(join(directory, 'sample.json'), JSON.stringify(sample))
  expect(await deploySample(client, directory)).toBe('/offers/index')
  const before = await client.get<{ items: readonly { id: string; version: string; digest: string }[] }>(
    '/webcomponent/all',
  )
  writeFileSync(join(directory, 'offers', 'new.txt'), 'changed')
  const [{ id, version }] = before.items as [(typeof before.items)[0]]
  await client.request('PUT', `/webcomponent/${id}/${version}/activation`, { body: { active: false } })
  writeFileSync(
    join(directory, 'sample.json'),
    JSON.stringify({ ...sample, components: [{ dir: 'offers', instances: 1 }] }),
  )
  expect(await deploySample(client, directory)).toBe('/offers/index')
  const after = await client.get<typeof before>('/webcomponent/all')
  expect(after.items.map(each => each.digest)).toEqual(before.items.map(each => each.digest))
})
