/**
 * etcd over gRPC. Of the client library only the raw calls are used: its watchers lose events on reconnect, its leases
 * report their loss too late, its retries send writes twice, and its circuit breaker blocks healthy calls. So: one
 * client per member and a second one for watches (a connection of their own), no retries in it, a deadline on every
 * unary call, `hasleader` on every call that must not be served by a member without a quorum, and a sticky choice of
 * the member that moves on when it does not answer.
 */
import * as grpc from '@grpc/grpc-js'
import {
  Etcd3,
  EtcdAuthenticationFailedError,
  EtcdInvalidAuthTokenError,
  EtcdLeaseInvalidError,
  EtcdPermissionDeniedError,
  GRPCInvalidArgumentError,
  GRPCNotFoundError,
  GRPCOutOfRangeError,
  GRPCResourceExhastedError,
  GRPCUnauthenticatedError,
  type ICompare,
  type IKeyValue,
  type IOptions,
  type IRequestOp,
  type IWatchResponse,
} from 'etcd3'
import {
  type Compare,
  type Etcd,
  EtcdFailure,
  type FailureKind,
  type KeyValue,
  type Op,
  type RangeRequest,
  type RangeResult,
  type TxnRequest,
  type TxnResult,
  type WatchEvent,
  type WatchHandlers,
  type Watching,
} from './etcd.js'

type Policy = NonNullable<NonNullable<IOptions['faultHandling']>['global']>

const neverAborts = new AbortController().signal
const nothingToDispose = (): { dispose(): void } => ({ dispose: () => undefined })
/** Runs the call once and passes on what it does. */
const once: Policy = {
  execute: async fn => fn({ signal: neverAborts }),
  onSuccess: nothingToDispose,
  onFailure: nothingToDispose,
  _altReturn: undefined as never,
}

/** A member that has lost its quorum answers at once that it has, rather than waiting for one. */
const withLeader: grpc.Interceptor = (options, nextCall) =>
  new grpc.InterceptingCall(nextCall(options), {
    start(metadata, listener, next) {
      metadata.set('hasleader', 'true')
      next(metadata, listener)
    },
  })

const channelOptions = {
  'grpc.keepalive_time_ms': 5_000,
  'grpc.keepalive_timeout_ms': 1_000,
  'grpc.initial_reconnect_backoff_ms': 50,
  'grpc.max_reconnect_backoff_ms': 500,
  'grpc.max_receive_message_length': 64 * 1024 * 1024,
  'grpc.use_local_subchannel_pool': 1,
}

export interface EtcdAuth {
  readonly user: string
  readonly password: string
}

const authMs = 1_000

const clientOf = (url: string, auth: EtcdAuth | undefined): Etcd3 =>
  new Etcd3({
    hosts: url,
    ...(auth && {
      auth: {
        username: auth.user,
        password: auth.password,
        callOptions: () => ({ deadline: Date.now() + authMs, interceptors: [withLeader] }),
      },
    }),
    grpcOptions: channelOptions,
    faultHandling: { host: () => once, global: once },
    defaultCallOptions: { interceptors: [withLeader] },
  })

interface Member {
  readonly url: string
  readonly calls: Etcd3
  readonly watches: Etcd3
}

export interface TransportEvents {
  /** A call ended: for metrics. */
  onCall?(method: string, outcome: 'ok' | FailureKind, ms: number): void
  onMove?(from: string, to: string, reason: string): void
}

export class EtcdTransport implements Etcd {
  readonly #members: readonly Member[]
  readonly #watches = new Map<WatchStream, Member>()
  #current: number

  /** `first`: which member to begin with, so that replicas spread over members. */
  constructor(
    urls: readonly string[],
    first: number,
    private readonly events: TransportEvents = {},
    private readonly auth?: EtcdAuth,
  ) {
    this.#members = urls.map(url => ({ url, calls: clientOf(url, auth), watches: clientOf(url, auth) }))
    this.#current = first % this.#members.length
  }

  get member(): string {
    return this.#members[this.#current]!.url
  }

  range(request: RangeRequest, deadlineMs: number): Promise<RangeResult> {
    return this.#call('range', deadlineMs, async ({ calls }, options) => {
      const answer = await calls.kv.range(
        {
          key: Buffer.from(request.key),
          ...(request.end === undefined ? {} : { range_end: Buffer.from(request.end) }),
          ...(request.revision === undefined ? {} : { revision: request.revision }),
          ...(request.limit === undefined ? {} : { limit: request.limit }),
          serializable: request.serializable ?? false,
          count_only: request.countOnly ?? false,
        },
        options,
      )
      return {
        revision: Number(answer.header.revision),
        cluster: answer.header.cluster_id,
        items: answer.kvs.map(keyValue),
        count: Number(answer.count),
        more: answer.more,
      }
    })
  }

  txn(request: TxnRequest, deadlineMs: number): Promise<TxnResult> {
    return this.#call('txn', deadlineMs, async ({ calls }, options) => {
      const answer = await calls.kv.txn(
        {
          compare: request.compare.map(compare),
          success: request.success.map(op),
          failure: (request.failure ?? []).map(op),
        },
        options,
      )
      const found = answer.responses.map(each => {
        const first = each.response_range?.kvs[0]
        return first && keyValue(first)
      })
      return { succeeded: answer.succeeded, revision: Number(answer.header.revision), found }
    })
  }

  grant(ttlS: number, deadlineMs: number): Promise<{ lease: string; ttlMs: number }> {
    return this.#call('grant', deadlineMs, async ({ calls }, options) => {
      const answer = await calls.leaseClient.leaseGrant({ TTL: ttlS }, options)
      return { lease: answer.ID, ttlMs: Number(answer.TTL) * 1000 }
    })
  }

  async keepAlive(lease: string, deadlineMs: number): Promise<number> {
    return this.#call('keepAlive', deadlineMs, async ({ calls }, options) => {
      const stream = await calls.leaseClient.leaseKeepAlive(options)
      try {
        return await new Promise<number>((resolve, reject) => {
          stream.on('data', answer => resolve(Number(answer.TTL) * 1000))
          stream.on('error', reject)
          stream.on('end', () => reject(new Error('UNAVAILABLE: the keepalive stream ended')))
          stream.write({ ID: lease })
        })
      } finally {
        stream.on('error', () => undefined)
        stream.cancel()
      }
    })
  }

  async revoke(lease: string, deadlineMs: number): Promise<void> {
    await this.#call('revoke', deadlineMs, ({ calls }, options) =>
      calls.leaseClient.leaseRevoke({ ID: lease }, options),
    )
  }

  /** Version of the member that answers, as it names it. */
  version(deadlineMs: number): Promise<string> {
    return this.#call(
      'status',
      deadlineMs,
      async ({ calls }, options) => (await calls.maintenance.status(options)).version,
    )
  }

  async isFull(deadlineMs: number): Promise<boolean> {
    const { errors } = await this.#call('status', deadlineMs, ({ calls }, options) => calls.maintenance.status(options))
    return errors.some(each => each.includes('NOSPACE'))
  }

  watch(request: { key: string; end: string; start: number }, handlers: WatchHandlers): Watching {
    const member = this.#members[this.#current]!
    const watch = new WatchStream(handlers, {
      leave: reason => this.#moveFrom(member, reason),
      over: () => this.#watches.delete(watch),
    })
    this.#watches.set(watch, member)
    void watch.open(member.watches, request, this.auth !== undefined)
    return watch
  }

  async close(): Promise<void> {
    for (const { calls, watches } of this.#members) {
      calls.close()
      watches.close()
    }
  }

  /** Leaves the member, unless another call has left it already. */
  move(reason: string): void {
    this.#moveFrom(this.#members[this.#current]!, reason)
  }

  #moveFrom(member: Member, reason: string): void {
    if (this.#members[this.#current] !== member || this.#members.length === 1) return
    this.#current = (this.#current + 1) % this.#members.length
    this.events.onMove?.(member.url, this.member, reason)
    // A member that does not answer calls will hardly say that its watches are dead.
    for (const [watch, of] of this.#watches) if (of === member) watch.doubt()
  }

  async #call<T>(
    method: string,
    deadlineMs: number,
    run: (member: Member, options: grpc.CallOptions) => Promise<T>,
  ): Promise<T> {
    const member = this.#members[this.#current]!
    const startMs = performance.now()
    try {
      const result = await run(member, { deadline: Date.now() + deadlineMs })
      this.events.onCall?.(method, 'ok', performance.now() - startMs)
      return result
    } catch (error) {
      const failure = failureOf(error, member.url)
      this.events.onCall?.(method, failure.kind, performance.now() - startMs)
      if (failure.kind === 'unavailable') this.#moveFrom(member, failure.message)
      throw failure
    }
  }
}

/** The one table from foreign errors to ours. Only what certainly never left this machine counts as not sent. */
function failureOf(error: unknown, member: string): EtcdFailure {
  const message = error instanceof Error ? error.message : String(error)
  const fail = (kind: FailureKind, sent: boolean): EtcdFailure =>
    new EtcdFailure(kind, sent, `etcd at ${member}: ${message}`, { cause: error })
  if (/required revision has been compacted|OUT_OF_RANGE/i.test(message) || error instanceof GRPCOutOfRangeError) {
    return fail('compacted', false)
  }
  if (/requested lease not found/i.test(message) || error instanceof EtcdLeaseInvalidError)
    return fail('lease-gone', false)
  // The very transaction that crosses the quota is applied, and refused all the same.
  if (/database space exceeded|NOSPACE/i.test(message)) return fail('quota', true)
  if (error instanceof GRPCResourceExhastedError || /request is too large/i.test(message))
    return fail('too-large', false)
  if (
    error instanceof EtcdPermissionDeniedError ||
    error instanceof EtcdAuthenticationFailedError ||
    error instanceof EtcdInvalidAuthTokenError ||
    error instanceof GRPCUnauthenticatedError
  ) {
    return fail('not-allowed', false)
  }
  if (error instanceof GRPCInvalidArgumentError || error instanceof GRPCNotFoundError) return fail('invalid', false)
  return fail('unavailable', !/ECONNREFUSED|No connection established|no leader/i.test(message))
}

const doubtMs = 500

/**
 * One raw watch. Fragments of a response are held back until the last one, and the events of a revision are given on
 * together. The stream's end is told once.
 */
class WatchStream implements Watching {
  #stream: Awaited<ReturnType<Etcd3['watchClient']['watch']>> | undefined
  #held: WatchEvent[] = []
  #over = false
  #doubt: NodeJS.Timeout | undefined

  constructor(
    private readonly handlers: WatchHandlers,
    private readonly member: { leave(reason: string): void; over(): void },
  ) {}

  /** Over, unless it soon gives a sign of life. */
  doubt(): void {
    if (this.#doubt || this.#over) return
    this.requestProgress()
    this.#doubt = setTimeout(() => this.#end('its member does not answer', { leave: true }), doubtMs)
  }

  /**
   * `renew`: the client gets itself a new token when a call is refused for its old one (they run out, and die with the
   * member that gave them), but never for a stream. So a call comes first.
   */
  async open(client: Etcd3, request: { key: string; end: string; start: number }, renew: boolean): Promise<void> {
    try {
      if (renew) await client.kv.range({ key: Buffer.from(request.key), limit: 1 }, { deadline: Date.now() + authMs })
      const stream = await client.watchClient.watch()
      if (this.#over) {
        stream.on('error', () => undefined)
        stream.cancel()
        return
      }
      this.#stream = stream
      stream.on('data', response => this.#onData(response))
      stream.on('error', error => this.#end(error.message, { leave: true }))
      stream.on('end', () => this.#end('the stream ended', { leave: true }))
      stream.write({
        create_request: {
          key: Buffer.from(request.key),
          range_end: Buffer.from(request.end),
          start_revision: request.start,
          progress_notify: true,
          fragment: true,
        },
      })
    } catch (error) {
      this.#end((error as Error).message, { leave: true })
    }
  }

  requestProgress(): void {
    this.#stream?.write({ progress_request: {} })
  }

  cancel(): void {
    this.#over = true
    clearTimeout(this.#doubt)
    this.member.over()
    this.#stream?.cancel()
  }

  abandon(): void {
    if (this.#over) return
    this.cancel()
    this.member.leave('the watch was silent')
  }

  #onData(response: IWatchResponse): void {
    if (this.#over) return
    clearTimeout(this.#doubt)
    this.#doubt = undefined
    if (response.canceled) {
      const compacted = Number(response.compact_revision)
      const denied = /permission denied/i.test(response.cancel_reason)
      this.#end(response.cancel_reason || 'canceled', {
        ...(compacted > 0 ? { compacted } : {}),
        ...(denied ? { fatal: true } : {}),
      })
      return
    }
    if (response.events.length === 0) {
      // Only a periodic notification of this very watch proves that all before it was delivered; a requested one
      // (watch id -1) and the answer to the creation are signs of life.
      const proves = !response.created && response.watch_id !== '-1' && !response.fragment
      this.handlers.onHeard(proves ? Number(response.header.revision) : undefined)
      return
    }
    this.#held.push(...response.events.map(watchEvent))
    if (response.fragment) {
      this.handlers.onHeard()
      return
    }
    const events = this.#held
    this.#held = []
    this.handlers.onEvents(events)
  }

  #end(reason: string, end: { compacted?: number; fatal?: boolean; leave?: boolean }): void {
    if (this.#over) return
    this.cancel()
    const { leave, ...rest } = end
    if (leave) this.member.leave(reason)
    this.handlers.onEnd({ reason, ...rest })
  }
}

function watchEvent(event: IWatchResponse['events'][number]): WatchEvent {
  const { kv } = event
  const deleted = String(event.type) === 'Delete' || String(event.type) === 'DELETE'
  return {
    key: kv.key.toString(),
    value: deleted ? null : kv.value,
    created: Number(kv.create_revision),
    modified: Number(kv.mod_revision),
  }
}

const keyValue = (kv: IKeyValue): KeyValue => ({
  key: kv.key.toString(),
  value: kv.value,
  created: Number(kv.create_revision),
  modified: Number(kv.mod_revision),
  lease: kv.lease,
})

function compare(each: Compare): ICompare {
  const key = Buffer.from(each.key)
  if ('created' in each) return { key, target: 'Create', result: 'Equal', create_revision: each.created }
  if ('modified' in each) return { key, target: 'Mod', result: 'Equal', mod_revision: each.modified }
  return { key, target: 'Create', result: 'Greater', create_revision: 0 }
}

function op(each: Op): IRequestOp {
  if ('put' in each) {
    const value = Buffer.from(each.value.buffer, each.value.byteOffset, each.value.byteLength)
    return { request_put: { key: Buffer.from(each.put), value, ...(each.lease ? { lease: each.lease } : {}) } }
  }
  if ('delete' in each) return { request_delete_range: { key: Buffer.from(each.delete) } }
  return { request_range: { key: Buffer.from(each.get) } }
}
