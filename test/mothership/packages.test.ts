import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digestOfPackage } from '../../src/cloud/component/archive.js'
import { PackageStore } from '../../src/mothership/packages.js'
import { FakeReplica } from '../support/fake-replica.js'
import { TestLog } from '../support/logs.js'
import { aPackage } from '../support/packages.js'

const meta = JSON.stringify({ id: 'news', version: '1.0', views: { index: {} } })
const files = { 'meta.json': meta, 'client/templates/index.html': 'news' }

let dataDir: string
let first: FakeReplica
let second: FakeReplica
let store: PackageStore

beforeEach(async () => {
  dataDir = mkdtempSync(join(tmpdir(), 'rain-packages-'))
  first = await FakeReplica.start()
  second = await FakeReplica.start()
  store = await opened(first.url, second.url)
})
afterEach(async () => {
  await Promise.all([first.close(), second.close()])
  rmSync(dataDir, { recursive: true, force: true })
})

async function opened(...replicas: string[]): Promise<PackageStore> {
  const fresh = new PackageStore({ dataDir, replicas: () => replicas, token: 'token-of-m1', log: new TestLog() })
  await fresh.open()
  return fresh
}

describe('a package on a mothership', () => {
  it('is fetched once, with the credential of the node, and unpacked', async () => {
    const digest = first.has(await aPackage(files))
    const [one, other] = await Promise.all([store.directory(digest), store.directory(digest)])

    expect(readFileSync(join(one, 'client/templates/index.html'), 'utf8')).toBe('news')
    expect(other).toBe(one)
    expect(await store.directory(digest)).toBe(one)
    expect(first.fetched).toEqual([digest])
    expect([...first.credentials]).toEqual(['Bearer token-of-m1'])
    expect(second.fetched).toEqual([])
  })

  it('is taken from the next replica when the first sends other bytes', async () => {
    const right = await aPackage(files)
    const digest = second.has(right)
    first.packages.set(digest, await aPackage({ ...files, 'client/templates/index.html': 'evil' }))
    const directory = await store.directory(digest)

    expect(readFileSync(join(directory, 'client/templates/index.html'), 'utf8')).toBe('news')
    expect(first.fetched).toEqual([digest])
    expect(second.fetched).toEqual([digest])
  })

  it('is taken from the next replica when the first does not have it, or is not there', async () => {
    const digest = second.has(await aPackage(files))
    await store.directory(digest)
    expect(first.fetched).toEqual([digest])

    const other = second.has(await aPackage({ ...files, 'client/css/a.css': '' }))
    const gone = await FakeReplica.start()
    const url = gone.url
    await gone.close()
    const directory = await (await opened(url, second.url)).directory(other)
    expect(readdirSync(directory)).toContain('client')
  })

  it('of wrong bytes everywhere is refused, and nothing of it is kept', async () => {
    const digest = digestOfPackage(await aPackage(files))
    const evil = await aPackage({ ...files, 'client/templates/index.html': 'evil' })
    first.packages.set(digest, evil)
    second.packages.set(digest, evil)

    await expect(store.directory(digest)).rejects.toThrow(`${second.url} sent other bytes than ${digest}`)
    expect(readdirSync(join(dataDir, 'packages'))).toEqual([])
    first.has(await aPackage(files))
    expect(readdirSync(await store.directory(digest))).toContain('meta.json')
  })

  it('that would leave its place is refused, although its bytes are those of the digest', async () => {
    const digest = first.has(await aPackage({ ...files, '../evil': 'x' }))

    await expect(store.directory(digest)).rejects.toThrow('a path that leaves the package')
    expect(readdirSync(join(dataDir, 'packages'))).toEqual([])
  })

  it('that cannot be put in its place leaves nothing half there', async () => {
    const digest = first.has(await aPackage(files))
    const name = digest.replace(':', '-')
    symlinkSync(join(dataDir, 'nowhere'), join(dataDir, 'packages', name))

    await expect(store.directory(digest)).rejects.toThrow()
    expect(readdirSync(join(dataDir, 'packages'))).toEqual([name])
  })

  it.each([
    ['commonjs', 'exports.index = (environment, callback) => callback()'],
    ['module', 'export const index = async () => ({})'],
  ])('without a package.json has one of type %s', async (type, data) => {
    const directory = await store.directory(first.has(await aPackage({ ...files, 'server/data.js': data })))

    expect(JSON.parse(readFileSync(join(directory, 'package.json'), 'utf8'))).toEqual({ type })
  })

  it('is known after a restart without asking anybody', async () => {
    const digest = first.has(await aPackage(files))
    const directory = await store.directory(digest)

    expect(await (await opened()).directory(digest)).toBe(directory)
  })

  it('is removed when nothing refers to it', async () => {
    const [kept, unused] = [
      first.has(await aPackage(files)),
      first.has(await aPackage({ ...files, 'client/css/a.css': '' })),
    ]
    const directory = await store.directory(kept)
    await store.directory(unused)
    await store.keepOnly(new Set([kept]))

    expect(readdirSync(join(dataDir, 'packages'))).toEqual([directory.split('/').at(-1)])
  })

  it('is never looked for outside of its place, whatever the digest says', async () => {
    await expect(store.directory('../..')).rejects.toThrow('not a digest')
    expect(first.fetched).toEqual([])
  })
})
