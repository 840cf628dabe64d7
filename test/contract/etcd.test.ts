import { execFileSync } from 'node:child_process'
import { EtcdTransport } from '../../src/store/transport.js'
import { startEtcd } from '../support/etcd.js'
import { etcdContract } from './etcd.contract.js'

etcdContract('the transport to real etcd', async () => {
  const members = await startEtcd(1)
  const etcd = new EtcdTransport(members.urls, 0)
  return {
    etcd,
    compact: async revision => {
      execFileSync('etcdctl', ['--endpoints', members.urls[0]!, 'compact', String(revision)], {
        env: { ...process.env, ETCDCTL_API: '3' },
        stdio: 'pipe',
      })
    },
    stop: async () => {
      await etcd.close()
      await members.stop()
    },
  }
})
