/**
 * etcd over gRPC. Of the client library only the raw calls are used: its watchers lose events on reconnect, its leases
 * report their loss too late, its retries send writes twice, and its circuit breaker blocks healthy calls. Leases and
 * status go through them; ranges, transactions and watches, of which there are many, are written and read here, on
 * a connection for calls and one for watches. No retries anywhere, a deadline on every unary call, `hasleader` on every
 * call that must not be served by a member without a quorum, and a sticky choice of the member that moves on when it does
 * not answer.
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
  type IOptions,
} from 'etcd3'
import { Connection, type EtcdAuth, type Stream } from './connection.js'
import {
  type Etcd,
  EtcdFailure,
  type FailureKind,
  type RangeRequest,
  type RangeResult,
  type TxnRequest,
  type TxnResult,
  type WatchEvent,
  type WatchHandlers,
  type Watching,
} from './etcd.js'
import {
  readRange,
  readTxn,
  readWatch,
  type WatchAnswer,
  writeProgress,
  writeRange,
  writeTxn,
  writeWatch,
} from './wire.js'

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

export type { EtcdAuth }

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
  readonly calls: Connection
  readonly watches: Connection
  /** Leases and status. */
  readonly library: Etcd3
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
    this.#members = urls.map(url => ({
      url,
      calls: new Connection(url, channelOptions, auth),
      watches: new Connection(url, channelOptions, auth),
      library: clientOf(url, auth),
    }))
    this.#current = first % this.#members.length
  }

  get member(): string {
    return this.#members[this.#current]!.url
  }

  range(request: RangeRequest, deadlineMs: number): Promise<RangeResult> {
    return this.#call('range', deadlineMs, async ({ calls }, { deadline }) =>
      readRange(await calls.call('KV/Range', writeRange(request), deadline)),
    )
  }

  txn(request: TxnRequest, deadlineMs: number): Promise<TxnResult> {
    return this.#call('txn', deadlineMs, async ({ calls }, { deadline }) =>
      readTxn(await calls.call('KV/Txn', writeTxn(request), deadline)),
    )
  }

  grant(ttlS: number, deadlineMs: number): Promise<{ lease: string; ttlMs: number }> {
    return this.#call('grant', deadlineMs, async ({ library }, options) => {
      const answer = await library.leaseClient.leaseGrant({ TTL: ttlS }, options)
      return { lease: answer.ID, ttlMs: Number(answer.TTL) * 1000 }
    })
  }

  async keepAlive(lease: string, deadlineMs: number): Promise<number> {
    return this.#call('keepAlive', deadlineMs, async ({ library }, options) => {
      const stream = await library.leaseClient.leaseKeepAlive(options)
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
    await this.#call('revoke', deadlineMs, ({ library }, options) =>
      library.leaseClient.leaseRevoke({ ID: lease }, options),
    )
  }

  /** Version of the member that answers, as it names it. */
  version(deadlineMs: number): Promise<string> {
    return this.#call(
      'status',
      deadlineMs,
      async ({ library }, options) => (await library.maintenance.status(options)).version,
    )
  }

  async isFull(deadlineMs: number): Promise<boolean> {
    const { errors } = await this.#call('status', deadlineMs, ({ library }, options) =>
      library.maintenance.status(options),
    )
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
    for (const { calls, watches, library } of this.#members) for (const each of [calls, watches, library]) each.close()
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
    run: (member: Member, options: { readonly deadline: number }) => Promise<T>,
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
      if (failure.kind === 'unavailable') {
        member.calls.leave()
        this.#moveFrom(member, failure.message)
      }
      throw failure
    }
  }
}

/** Of what gRPC itself says; the client library has classes of its own for some. */
const codeOf = (error: unknown): unknown => (error as { code?: unknown } | undefined)?.code

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
  const exhausted = codeOf(error) === grpc.status.RESOURCE_EXHAUSTED || error instanceof GRPCResourceExhastedError
  if (exhausted || /request is too large/i.test(message)) return fail('too-large', false)
  if (
    error instanceof EtcdPermissionDeniedError ||
    error instanceof EtcdAuthenticationFailedError ||
    error instanceof EtcdInvalidAuthTokenError ||
    error instanceof GRPCUnauthenticatedError ||
    codeOf(error) === grpc.status.UNAUTHENTICATED ||
    codeOf(error) === grpc.status.PERMISSION_DENIED ||
    /authentication failed, invalid user/i.test(message)
  ) {
    return fail('not-allowed', false)
  }
  const invalid = codeOf(error) === grpc.status.INVALID_ARGUMENT || codeOf(error) === grpc.status.NOT_FOUND
  if (invalid || error instanceof GRPCInvalidArgumentError || error instanceof GRPCNotFoundError)
    return fail('invalid', false)
  return fail('unavailable', !/ECONNREFUSED|No connection established|no leader/i.test(message))
}

const doubtMs = 500

/**
 * One raw watch. Fragments of a response are held back until the last one, and the events of a revision are given on
 * together. The stream's end is told once.
 */
class WatchStream implements Watching {
  #stream: Stream | undefined
  #held: readonly WatchEvent[] = []
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
  async open(on: Connection, request: { key: string; end: string; start: number }, renew: boolean): Promise<void> {
    const failed = (reason: string): void => {
      on.leave()
      this.#end(reason, { leave: true })
    }
    try {
      const first = { key: request.key, limit: 1, serializable: true }
      if (renew) await on.call('KV/Range', writeRange(first), Date.now() + authMs)
      const stream = await on.open('Watch/Watch')
      if (this.#over) {
        stream.on('error', () => undefined)
        stream.cancel()
        return
      }
      this.#stream = stream
      stream.on('data', (answer: Buffer) => this.#onData(answer))
      stream.on('error', error => failed(error.message))
      stream.on('end', () => failed('the stream ended'))
      stream.write(writeWatch(request))
    } catch (error) {
      failed((error as Error).message)
    }
  }

  requestProgress(): void {
    this.#stream?.write(writeProgress())
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

  #onData(bytes: Buffer): void {
    if (this.#over) return
    clearTimeout(this.#doubt)
    this.#doubt = undefined
    let answer: WatchAnswer
    try {
      answer = readWatch(bytes)
    } catch (error) {
      this.#end((error as Error).message, { leave: true })
      return
    }
    const { canceled, compacted, reason, created, watch, fragment, revision, events } = answer
    if (canceled) {
      const denied = /permission denied/i.test(reason)
      this.#end(reason || 'canceled', { ...(compacted > 0 ? { compacted } : {}), ...(denied ? { fatal: true } : {}) })
      return
    }
    if (events.length === 0) {
      // Only a periodic notification of this very watch proves that all before it was delivered; a requested one
      // (watch id -1) and the answer to the creation are signs of life.
      const proves = !created && watch !== '-1' && !fragment
      this.handlers.onHeard(proves ? revision : undefined)
      return
    }
    this.#held = this.#held.length === 0 ? events : [...this.#held, ...events]
    if (fragment) {
      this.handlers.onHeard()
      return
    }
    const held = this.#held
    this.#held = []
    this.handlers.onEvents(held)
  }

  #end(reason: string, end: { compacted?: number; fatal?: boolean; leave?: boolean }): void {
    if (this.#over) return
    this.cancel()
    const { leave, ...rest } = end
    if (leave) this.member.leave(reason)
    this.handlers.onEnd({ reason, ...rest })
  }
}
