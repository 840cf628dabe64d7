/** What is written and read by hand is what the client library's codec, made from etcd's own definitions, makes of it. */
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import type { Compare, Op } from '../../src/store/etcd.js'
import {
  readLogin,
  readRange,
  readTxn,
  readWatch,
  writeLogin,
  writeProgress,
  writeRange,
  writeTxn,
  writeWatch,
} from '../../src/store/wire.js'

interface Codec {
  readonly requestSerialize: (value: object) => Buffer
  readonly requestDeserialize: (bytes: Buffer) => Record<string, unknown>
  readonly responseSerialize: (value: object) => Buffer
}

const library = createRequire(import.meta.url).resolve('etcd3')
const { loadSync } = createRequire(library)('@grpc/proto-loader') as {
  loadSync: (file: string, options: object) => Record<string, Record<string, Codec>>
}
const proto = loadSync(join(dirname(dirname(library)), 'proto', 'rpc.proto'), {
  keepCase: true,
  longs: String,
  enums: String,
  defaults: false,
  oneofs: true,
})
const { Range, Txn } = proto['etcdserverpb.KV']!
const { Watch } = proto['etcdserverpb.Watch']!
const { Authenticate } = proto['etcdserverpb.Auth']!

const text = (bytes: unknown): string => Buffer.from(bytes as Uint8Array).toString()
const key = fc.string({ unit: 'grapheme', minLength: 1, maxLength: 200 })
const revision = fc.oneof(fc.nat(), fc.nat(300), fc.maxSafeNat())
const value = fc.uint8Array({ maxLength: 400 })
const lease = fc.bigInt({ min: 1n, max: 2n ** 63n - 1n }).map(String)
const number = (value: unknown): number => Number(value ?? 0)

describe('a message to etcd', () => {
  it('asks for a range as the library does', () => {
    const request = fc.record(
      {
        key,
        end: key,
        revision,
        limit: fc.nat(),
        serializable: fc.boolean(),
        countOnly: fc.boolean(),
        keysOnly: fc.boolean(),
      },
      { requiredKeys: ['key'] },
    )
    fc.assert(
      fc.property(request, asked => {
        const read = Range!.requestDeserialize(writeRange(asked))
        expect({
          key: text(read['key']),
          end: read['range_end'] === undefined ? undefined : text(read['range_end']),
          numbers: [number(read['revision']), number(read['limit'])],
          flags: [read['serializable'] ?? false, read['count_only'] ?? false, read['keys_only'] ?? false],
        }).toEqual({
          key: asked.key,
          end: asked.end,
          numbers: [asked.revision ?? 0, asked.limit ?? 0],
          flags: [asked.serializable ?? false, asked.countOnly ?? false, asked.keysOnly ?? false],
        })
      }),
    )
  })

  it('is a transaction as the library writes it', () => {
    const compare: fc.Arbitrary<Compare> = fc.oneof(
      fc.record({ key, created: revision }),
      fc.record({ key, modified: revision }),
      key.map(each => ({ key: each, exists: true }) as const),
    )
    const op: fc.Arbitrary<Op> = fc.oneof(
      fc.record({ put: key, value, lease }, { requiredKeys: ['put', 'value'] }),
      key.map(each => ({ delete: each })),
      key.map(each => ({ get: each })),
    )
    const written = (each: Op): object => {
      if ('put' in each) return { request_put: { key: each.put, value: Buffer.from(each.value), lease: each.lease } }
      return 'delete' in each ? { request_delete_range: { key: each.delete } } : { request_range: { key: each.get } }
    }
    const compared = (each: Compare): object => {
      if ('created' in each) return { key: each.key, target: 'Create', create_revision: String(each.created) }
      if ('modified' in each) return { key: each.key, target: 'Mod', mod_revision: String(each.modified) }
      return { key: each.key, result: 'Greater', target: 'Create' }
    }
    const ops = fc.array(op, { maxLength: 6 })
    fc.assert(
      fc.property(fc.array(compare, { maxLength: 3 }), ops, ops, (compares, success, failure) => {
        const read = Txn!.requestDeserialize(writeTxn({ compare: compares, success, failure }))
        const library = JSON.parse(
          JSON.stringify(read, (name, each) => (name === 'key' ? Buffer.from(each.data ?? each).toString() : each)),
        )
        const ours = JSON.parse(JSON.stringify({ success: success.map(written), failure: failure.map(written) }))
        for (const branch of ['success', 'failure'] as const) {
          expect(library[branch] ?? []).toMatchObject(ours[branch])
        }
        for (const [index, each] of compares.entries()) {
          const { create_revision, mod_revision, ...rest } = compared(each) as Record<string, unknown>
          const found = library.compare[index]
          expect(found).toMatchObject(rest)
          expect([number(found.create_revision), number(found.mod_revision), found.result ?? 'Equal']).toEqual([
            number(create_revision),
            number(mod_revision),
            rest['result'] ?? 'Equal',
          ])
        }
      }),
    )
  })

  it('opens a watch, asks for progress and logs in as the library does', () => {
    fc.assert(
      fc.property(key, key, revision, (from, end, start) => {
        const read = Watch!.requestDeserialize(writeWatch({ key: from, end, start }))['create_request'] as object
        const { key: readKey, range_end, start_revision, ...flags } = read as Record<string, unknown>
        expect([text(readKey), text(range_end), number(start_revision)]).toEqual([from, end, start])
        expect(flags).toEqual({ progress_notify: true, fragment: true })
        expect(Authenticate!.requestDeserialize(writeLogin(from, end))).toEqual({ name: from, password: end })
      }),
    )
    expect(Watch!.requestDeserialize(writeProgress())).toMatchObject({ progress_request: {} })
  })
})

const keyValue = fc.record({
  key: key.map(each => Buffer.from(each)),
  value: value.map(each => Buffer.from(each)),
  create_revision: revision,
  mod_revision: revision,
  version: revision,
  lease,
})
type LibraryKeyValue = typeof keyValue extends fc.Arbitrary<infer T> ? T : never
const read = (kv: LibraryKeyValue) => ({
  key: kv.key.toString(),
  value: kv.value,
  created: kv.create_revision,
  modified: kv.mod_revision,
  lease: kv.lease,
})
const header = fc.record({
  cluster_id: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }).map(String),
  member_id: fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }).map(String),
  revision,
  raft_term: revision,
})

describe('a message of etcd', () => {
  it('is a range as the library writes it', () => {
    fc.assert(
      fc.property(header, fc.array(keyValue, { maxLength: 5 }), fc.boolean(), revision, (header, kvs, more, count) => {
        const answer = readRange(Range!.responseSerialize({ header, kvs, more, count }))
        const items = kvs.map(read)
        expect(answer).toEqual({ cluster: header.cluster_id, revision: header.revision, items, more, count })
      }),
    )
  })

  it('is the answer to a transaction as the library writes it', () => {
    const found = fc.option(keyValue, { nil: undefined })
    fc.assert(
      fc.property(header, fc.boolean(), fc.array(fc.option(found)), (header, succeeded, each) => {
        const responses = each.map(kv =>
          kv === null ? { response_put: { header } } : { response_range: { header, kvs: kv ? [kv] : [] } },
        )
        const answer = readTxn(Txn!.responseSerialize({ header, succeeded, responses }))
        const items = each.map(kv => (kv ? read(kv) : undefined))
        expect(answer).toEqual({ revision: header.revision, succeeded, found: items })
      }),
    )
  })

  it('is news of a watch as the library writes it', () => {
    const event = fc.record({ deleted: fc.boolean(), kv: keyValue })
    const more = fc.record({
      watch_id: fc.constantFrom('0', '7', '-1'),
      created: fc.boolean(),
      canceled: fc.boolean(),
      compact_revision: revision,
      cancel_reason: key,
      fragment: fc.boolean(),
    })
    fc.assert(
      fc.property(header, more, fc.array(event, { maxLength: 5 }), (header, more, events) => {
        const written = events.map(({ deleted, kv }) => ({ type: deleted ? 1 : 0, kv }))
        const answer = readWatch(Watch!.responseSerialize({ header, ...more, events: written }))
        expect(answer).toEqual({
          revision: header.revision,
          watch: more.watch_id,
          created: more.created,
          canceled: more.canceled,
          compacted: more.compact_revision,
          reason: more.cancel_reason,
          fragment: more.fragment,
          events: events.map(({ deleted, kv }) => {
            const { lease: _, ...rest } = read(kv)
            return deleted ? { ...rest, value: null } : rest
          }),
        })
      }),
    )
    expect(readLogin(Authenticate!.responseSerialize({ token: 'abc.1' }))).toBe('abc.1')
  })

  it('is refused when it is cut off or none at all, and nothing worse happens', () => {
    const refusals = new Set<string>()
    const attempt = (run: () => unknown): void => {
      try {
        run()
      } catch (error) {
        expect(error).toBeInstanceOf(RangeError)
        refusals.add((error as Error).message)
      }
    }
    fc.assert(
      fc.property(
        header,
        fc.array(keyValue, { maxLength: 3 }),
        fc.nat(2_000),
        fc.uint8Array(),
        (header, kvs, at, noise) => {
          const whole = Range!.responseSerialize({ header, kvs })
          const events = kvs.map(kv => ({ kv }))
          const news = Watch!.responseSerialize({ header, events })
          for (const bytes of [whole.subarray(0, at), news.subarray(0, at), Buffer.from(noise)]) {
            for (const reads of [readRange, readTxn, readWatch, readLogin]) attempt(() => reads(Buffer.from(bytes)))
          }
        },
      ),
      { numRuns: 500 },
    )
    expect([...refusals].every(each => each.startsWith('not a message of etcd'))).toBe(true)
    expect(refusals.size).toBeGreaterThan(2)
  })
})
