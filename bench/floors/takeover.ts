/** What a takeover costs etcd alone: the dead term's key deleted, taken anew, and one fenced write. */
import { Etcd3 } from 'etcd3'

export interface TakeoverFloor {
  /** Milliseconds of one takeover. */
  once(): Promise<number>
  close(): void
}

export function takeoverFloor(url: string): TakeoverFloor {
  const client = new Etcd3({ hosts: url })
  const key = Buffer.from('floor/leader')
  const put = (name: string) => ({ request_put: { key: Buffer.from(name), value: Buffer.from('{}') } })
  const created = (revision: string) => ({
    key,
    target: 'Create' as const,
    result: 'Equal' as const,
    create_revision: revision,
  })
  let token = '0'
  const take = async (): Promise<void> => {
    const taken = await client.kv.txn({ compare: [created('0')], success: [put('floor/leader')], failure: [] })
    if (!taken.succeeded) throw new Error('the floor did not take the key')
    token = taken.header.revision
  }
  return {
    once: async () => {
      if (token === '0') await take()
      const fromMs = performance.now()
      const success = [{ request_delete_range: { key } }]
      const deleted = await client.kv.txn({ compare: [created(token)], success, failure: [] })
      await take()
      const written = await client.kv.txn({ compare: [created(token)], success: [put('floor/x')], failure: [] })
      if (!deleted.succeeded || !written.succeeded) throw new Error('the floor was not a takeover')
      return performance.now() - fromMs
    },
    close: () => client.close(),
  }
}
