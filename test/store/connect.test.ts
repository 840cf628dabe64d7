/** Finding etcd when it is there, not there yet, or something else. */
import { createServer } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { checkVersion, connectEtcd } from '../../src/store/connect.js'
import { freePorts, startEtcd, type TestEtcd } from '../support/etcd.js'
import { testClock } from '../support/plain-store.js'
import { TestProxy } from '../support/proxy.js'
import { chance, quiet } from '../support/stores.js'

const options = { clock: testClock, chance, log: quiet }

describe('looking for etcd', () => {
  let members: TestEtcd
  beforeAll(async () => {
    members = await startEtcd(1)
  })
  afterAll(() => members.stop())

  it('finds it behind members that are not there, whichever is tried first', async () => {
    const [port] = await freePorts(1)
    const gone = `http://127.0.0.1:${port}`
    for (const next of [0, 0.4, 0.9]) {
      const urls = [gone, members.urls[0]!, gone]
      const etcd = await connectEtcd(urls, { ...options, chance: { ...chance, next: () => next } })
      expect((await etcd.range({ key: 'a' }, 5_000)).items).toEqual([])
      await etcd.close()
    }
  })

  it('waits for it to come', async () => {
    const proxy = await TestProxy.start(members.urls[0]!)
    proxy.refuse()
    const found = connectEtcd([proxy.url], options)
    proxy.accept()
    await (await found).close()
    await proxy.stop()
  })

  it('says where it looked when nothing was there', async () => {
    const [port] = await freePorts(1)
    const url = `http://127.0.0.1:${port}`
    await expect(connectEtcd([url], { ...options, withinMs: 300 })).rejects.toMatchObject({
      code: 'store-unavailable',
      message: expect.stringContaining(url),
    })
  })

  it('takes 3.4 and every later 3.x, and says what it needs otherwise', () => {
    for (const version of ['3.4.23', '3.5.0', '3.10.1']) expect(() => checkVersion(version, 'e1')).not.toThrow()
    for (const version of ['2.3.8', '3.3.27', '4.0.0', '', 'soon']) {
      expect(() => checkVersion(version, 'e1')).toThrow('3.4 or a later 3.x is needed')
    }
  })

  it('is not deceived by a server that is no etcd', async () => {
    const server = createServer((_, response) => response.end('hello'))
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const url = `http://127.0.0.1:${(server.address() as { port: number }).port}`
    await expect(connectEtcd([url], { ...options, withinMs: 300 })).rejects.toMatchObject({ code: 'store-unavailable' })
    await new Promise(resolve => server.close(resolve))
  })
})
