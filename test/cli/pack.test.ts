import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { packageBytes } from '../../src/cli/pack.js'
import { table } from '../../src/cli/table.js'
import { readPackage } from '../../src/cloud/component/package.js'

const directories: string[] = []
afterEach(() => {
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

function component(files: Readonly<Record<string, string>>): string {
  const directory = mkdtempSync(join(tmpdir(), 'rain-pack-'))
  directories.push(directory)
  for (const [name, text] of Object.entries(files)) {
    mkdirSync(join(directory, name, '..'), { recursive: true })
    writeFileSync(join(directory, name), text)
  }
  return directory
}

const files = {
  'meta.json': JSON.stringify({ id: 'news', version: '1.0', views: { index: {} } }),
  'client/templates/index.html': '<p>news</p>',
  '.git/config': 'not for others',
  'node_modules/x/index.js': 'nor this',
}

describe('a directory as a package', () => {
  it('can be deployed, without what is not the component', async () => {
    const reading = await readPackage(await packageBytes(component(files)))
    expect(reading).toMatchObject({ kind: 'good', package: { descriptor: { id: 'news' } } })
    expect([...(reading.kind === 'good' ? reading.package.files.keys() : [])]).toEqual([
      'client/templates/index.html',
      'meta.json',
    ])
  })

  it('is the same bytes wherever and whenever it is packed', async () => {
    const [one, two] = [await packageBytes(component(files)), await packageBytes(component(files))]
    expect(one.equals(two)).toBe(true)
  })

  it('is refused when it is no component, or is not there', async () => {
    await expect(packageBytes(component({ 'a.txt': 'a' }))).rejects.toThrow('holds no meta.json')
    await expect(packageBytes('/there/is/nothing')).rejects.toThrow('there is no /there/is/nothing')
  })
})

describe('a table', () => {
  it('has columns as wide as their longest cell', () => {
    const rows = [
      ['m1', 'ready'],
      ['mothership-2', ''],
    ]
    expect(table(['ID', 'STATE'], rows)).toBe('ID            STATE\nm1            ready\nmothership-2')
  })
})
