/** Transactions of a term (S2), on the twin: whatever the network does, each is applied once or not, and says which. */
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { put } from '../../src/cloud/records.js'
import type { CommitResult, RequestRecord } from '../../src/hypervisor/ports.js'
import { Keys } from '../../src/store/keys.js'
import { EtcdRequests } from '../../src/store/requests.js'
import type { FencedTerm } from '../../src/store/term.js'
import { EtcdTwin } from '../../src/store/twin.js'
import type { Fate, TwinClient } from '../../src/store/twin-client.js'
import { ManualClock } from '../support/manual-clock.js'
import { aMothership } from '../support/records.js'
import { aBatch, aTerm, auditOf } from '../support/stores.js'

const keys = new Keys('test')
const aRequest = (id: string): RequestRecord => ({
  schema: 1,
  id,
  fingerprint: 'f',
  done: true,
  answer: { outcome: 'created', kind: 'motherships', ids: [id] },
  progress: 1,
})

describe('a term', () => {
  let clock: ManualClock
  let twin: EtcdTwin
  let etcd: TwinClient
  let other: TwinClient
  let term: FencedTerm
  let ambiguous: string[]

  const start = async (): Promise<void> => {
    clock = new ManualClock()
    twin = new EtcdTwin(clock)
    etcd = twin.client()
    other = twin.client()
    ambiguous = []
    term = await aTerm(etcd, { clock, events: { onAmbiguous: how => void ambiguous.push(how) } })
  }
  beforeEach(start)

  const commit = (id: string, of = term): Promise<CommitResult> => clock.during(of.commit(aBatch(id)))
  const written = async (): Promise<string[]> => (await auditOf(other)).map(each => each.entries[0]!.subjects[0]!)
  const mothership = async (id: string) => (await other.range({ key: keys.record('motherships', id) }, 1_000)).items[0]

  it('writes changes, answers and audit at one revision', async () => {
    const batch = aBatch('m1', { requests: [aRequest('one')] })
    const result = await clock.during(term.commit(batch))

    expect(result).toEqual({ kind: 'committed', revision: twin.revision })
    expect(await mothership('m1')).toMatchObject({ modified: twin.revision })
    expect(await new EtcdRequests(other, keys, clock).read('one')).toEqual(aRequest('one'))
    expect(await auditOf(other)).toMatchObject([{ number: 1, token: term.token, entries: batch.audit }])
  })

  it('knows by etcd whether it still holds, also when others end it while its lease runs', async () => {
    expect(await clock.during(term.holds())).toBe(true)
    await other.txn({ compare: [], success: [{ delete: keys.record('leader', '') }] }, 1_000)
    expect(term.valid()).toBe(true)
    expect(await clock.during(term.holds())).toBe(false)
    expect(term.valid()).toBe(false)
  })

  it('knows what became of a transaction whose reply was lost', async () => {
    etcd.loseNextReply()
    expect(await commit('m1')).toEqual({ kind: 'committed', revision: (await mothership('m1'))!.modified })
    await commit('m2')
    expect([await written(), ambiguous]).toEqual([['m1', 'm2'], ['landed']])
  })

  it('lets no transaction land after a later one, however late it arrives', async () => {
    const release = etcd.holdNextTxn()
    const [first, second] = [term.commit(aBatch('m1')), term.commit(aBatch('m1', { changes: [] }))]
    await clock.during(Promise.all([first, second]))
    await clock.during(
      term.commit(aBatch('m1', { changes: [put('motherships', 'm1', aMothership('m1', { zone: 'b' }))] })),
    )
    const before = await mothership('m1')
    release()
    await clock.advance(10_000)

    expect(await mothership('m1')).toEqual(before)
    expect((await first).kind).toBe('committed')
    expect([await written(), ambiguous]).toEqual([['m1', 'm1', 'm1'], ['sent-again']])
  })

  it('commits each batch once and in order, whatever becomes of its requests and replies', async () => {
    const fates = fc.array(fc.constantFrom('passes', 'refused', 'request-lost', 'reply-lost', 'late'), {
      maxLength: 20,
    })
    await fc.assert(
      fc.asyncProperty(fates, async plan => {
        await start()
        etcd.plan(...plan.map(each => fateOf(each)))
        const ids = Array.from({ length: 6 }, (_, i) => `m${i}`)
        const results = await clock.during(Promise.all(ids.map(id => term.commit(aBatch(id)))), 600_000)
        await clock.advance(60_000)

        expect(await written()).toEqual(ids)
        const revisions = await Promise.all(ids.map(async id => (await mothership(id))!.modified))
        expect(results).toEqual(revisions.map(revision => ({ kind: 'committed', revision })))
      }),
      { numRuns: 100 },
    )
  })

  it('says of each batch whether it was written, though another leader came in between', async () => {
    const fates = fc.array(fc.constantFrom('passes', 'refused', 'request-lost', 'reply-lost', 'late'), { maxLength: 8 })
    await fc.assert(
      fc.asyncProperty(fates, fc.integer({ min: 0, max: 8_000 }), async (plan, takeoverMs) => {
        await start()
        etcd.plan(...plan.map(each => fateOf(each)))
        const ids = Array.from({ length: 6 }, (_, i) => `m${i}`)
        const commits = Promise.all(ids.map(id => term.commit(aBatch(id))))
        await clock.advance(takeoverMs)
        const next = await aTerm(other, { clock })
        await commit('next', next)
        const results = await clock.during(commits, 600_000)
        await clock.advance(60_000)

        const committed = ids.filter((_, i) => results[i]!.kind === 'committed')
        expect(await written()).toEqual([...committed, 'next'])
        const present = await Promise.all(ids.map(async id => (await mothership(id)) !== undefined))
        expect(present).toEqual(results.map(each => each.kind === 'committed'))
      }),
      { numRuns: 200 },
    )
  })

  /** Late: the request arrives after some seconds, when nobody waits for its answer any more. */
  const fateOf = (name: string): Fate =>
    name === 'late' ? new Promise(resolve => clock.after(5_000, () => resolve(undefined))) : (name as Fate)

  it('takes a new lease for answers when the one it had is gone', async () => {
    await clock.during(term.commit(aBatch('m1', { requests: [aRequest('one')] })))
    const { lease } = (await other.range({ key: keys.request('one') }, 1_000)).items[0]!
    await other.revoke(lease, 1_000)
    const result = await clock.during(term.commit(aBatch('m2', { requests: [aRequest('two')] })))

    expect(result.kind).toBe('committed')
    expect(await new EtcdRequests(other, keys, clock).read('two')).toEqual(aRequest('two'))
    expect(await written()).toEqual(['m1', 'm2'])
  })

  it('writes nothing of a batch whose chunks are missing, and goes on with the next', async () => {
    const digest = `sha256:${'a'.repeat(64)}`
    const deploy = aBatch('m1', { needsBlobs: [{ digest, chunks: 1 }] })
    expect(await clock.during(term.commit(deploy))).toEqual({ kind: 'missing-blobs', digests: [digest] })
    await commit('m2')
    await other.txn({ compare: [], success: [{ put: keys.chunk(digest, 0), value: Buffer.from('x') }] }, 1_000)
    expect((await clock.during(term.commit(deploy))).kind).toBe('committed')
    expect(await written()).toEqual(['m2', 'm1'])
  })

  it('fails a batch that etcd would not take, and goes on with the next', async () => {
    const changes = Array.from({ length: 126 }, (_, i) => put('motherships', `m${i}`, aMothership(`m${i}`)))
    await expect(clock.during(term.commit(aBatch('many', { changes })))).rejects.toMatchObject({ code: 'internal' })
    const twice = [put('motherships', 'm1', aMothership('m1')), put('motherships', 'm1', aMothership('m1'))]
    await expect(clock.during(term.commit(aBatch('twice', { changes: twice })))).rejects.toMatchObject({
      code: 'internal',
    })
    await commit('m2')
    expect(await written()).toEqual(['m2'])
  })

  it('waits as long as etcd is away, and drops what is left once its end is known', async () => {
    etcd.cut('silent')
    const waiting = term.commit(aBatch('m1'))
    await clock.advance(30_000)
    etcd.heal()
    expect((await clock.during(waiting)).kind).toBe('committed')

    etcd.cut()
    const dropped = term.commit(aBatch('m2'))
    await clock.advance(1_000)
    term.end('resigned')
    expect(await clock.during(dropped)).toEqual({ kind: 'superseded' })
    expect(await term.ended).toBe('resigned')
    expect(await written()).toEqual(['m1'])
  })
})
