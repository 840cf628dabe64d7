import { EtcdTwin } from '../../src/store/twin.js'
import { testClock } from '../support/plain-store.js'
import { etcdContract } from './etcd.contract.js'

etcdContract('the twin', async () => {
  const twin = new EtcdTwin(testClock)
  const etcd = twin.client()
  return {
    etcd,
    compact: async revision => twin.compact(revision),
    stop: async () => {
      await etcd.close()
      twin.stop()
    },
  }
})

etcdContract('the twin, some time away,', async () => {
  const twin = new EtcdTwin(testClock, { delayMs: () => Math.random() * 10 })
  const etcd = twin.client()
  return {
    etcd,
    compact: async revision => twin.compact(revision),
    stop: async () => {
      await etcd.close()
      twin.stop()
    },
  }
})
