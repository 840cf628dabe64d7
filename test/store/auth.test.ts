/** An etcd that asks who comes: its tokens run out, and die with the member that gave them. */
import { execFileSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { connectEtcd } from '../../src/store/connect.js'
import { Keys } from '../../src/store/keys.js'
import { EtcdTransport } from '../../src/store/transport.js'
import { startEtcd, type TestEtcd, waitUntil } from '../support/etcd.js'
import { testClock } from '../support/plain-store.js'
import { aBatch, aStore, chance, memoryOf, quiet, rangeOf } from '../support/stores.js'

const tokenTtlS = 2
const auth = { user: 'rain', password: 'secret' }
const options = { clock: testClock, chance, log: quiet, withinMs: 3_000 }

describe('an etcd with users', () => {
  let members: TestEtcd
  const etcdctl = (...args: string[]): void => {
    const env = { ...process.env, ETCDCTL_API: '3' }
    execFileSync('etcdctl', ['--endpoints', members.urls[0]!, ...args], { env, stdio: 'pipe' })
  }

  beforeAll(async () => {
    members = await startEtcd(1, ['--auth-token-ttl', String(tokenTtlS)])
    etcdctl('user', 'add', 'root:root')
    etcdctl('user', 'grant-role', 'root', 'root')
    etcdctl('user', 'add', `${auth.user}:${auth.password}`)
    etcdctl('role', 'add', 'rain')
    etcdctl('role', 'grant-permission', '--prefix=true', 'rain', 'readwrite', '/rain/test/')
    etcdctl('user', 'grant-role', 'rain', 'rain')
    etcdctl('auth', 'enable')
  })
  afterAll(() => members.stop())

  it('is told from one that is away when it does not let in', async () => {
    for (const wrong of [{}, { auth: { ...auth, password: 'wrong' } }]) {
      const found = connectEtcd(members.urls, { ...options, ...wrong })
      const failure = await found.then(
        async etcd => {
          const keys = new Keys('test')
          const read = etcd.range({ key: keys.map, end: keys.mapEnd }, 1_000)
          return read.catch(error => error).finally(() => etcd.close())
        },
        error => error,
      )
      expect(failure).toMatchObject({
        message: expect.stringMatching(/user name is empty|invalid user ID or password/),
      })
    }
  })

  it('keeps a store whose tokens run out, and whose watch begins anew after a restart, as current as any', async () => {
    const reopened: string[] = []
    const etcd = new EtcdTransport(members.urls, 0, {}, auth)
    const store = await aStore('h1', etcd, { events: { onReopen: reason => void reopened.push(reason) } })
    try {
      await waitUntil('h1 leads', () => store.term() !== undefined)
      await store.term()!.commit(aBatch('a'))
      await waitUntil('a is known', () => store.maps.map.get('motherships', 'a') !== undefined)
      const fromMs = performance.now()
      await waitUntil('tokens have run out', () => performance.now() - fromMs > (tokenTtlS + 1) * 1_000)
      await members.kill(0)
      await members.restart(0)
      await waitUntil('h1 leads again', () => store.term()?.valid() === true && store.maps.staleForMs() === 0)
      expect(await store.term()!.commit(aBatch('b'))).toMatchObject({ kind: 'committed' })
      await waitUntil('b is known', () => store.maps.map.get('motherships', 'b') !== undefined)

      expect(reopened.length).toBeGreaterThan(0)
      const { order } = store.maps.map
      expect(memoryOf(store.maps.map)).toEqual(await rangeOf(etcd, order.revision))
    } finally {
      await store.close()
      await etcd.close()
    }
  })
})
