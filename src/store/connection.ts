/**
 * One connection to a member for calls whose bytes are ours to write and read: plain gRPC, without retries. Who has to
 * log in does so at the first call, and once more when a member does not know the token any more.
 */
import * as grpc from '@grpc/grpc-js'
import { readLogin, writeLogin } from './wire.js'

export interface EtcdAuth {
  readonly user: string
  readonly password: string
}

export type Stream = grpc.ClientDuplexStream<Buffer, Buffer>

const loginMs = 1_000
const asIs = (bytes: Buffer): Buffer => bytes

/** A member that has lost its quorum answers at once that it has, rather than waiting for one. */
function metadataWith(token?: string): grpc.Metadata {
  const metadata = new grpc.Metadata()
  metadata.set('hasleader', 'true')
  if (token !== undefined) metadata.set('token', token)
  return metadata
}

const withoutToken = metadataWith()

export class Connection {
  readonly #address: string
  readonly #credentials: grpc.ChannelCredentials
  #client: grpc.Client | undefined
  #login: Promise<grpc.Metadata> | undefined

  constructor(
    url: string,
    private readonly options: grpc.ChannelOptions,
    private readonly auth?: EtcdAuth,
  ) {
    this.#address = url.replace(/^https?:\/\//, '')
    this.#credentials = url.startsWith('https:') ? grpc.credentials.createSsl() : grpc.credentials.createInsecure()
  }

  /** `method` as in `KV/Range`. Throws what gRPC says. */
  async call(method: string, body: Buffer, deadline: number): Promise<Buffer> {
    if (!this.auth) return this.#send(method, body, withoutToken, deadline)
    try {
      return await this.#send(method, body, await this.#metadata(), deadline)
    } catch (error) {
      if (!/invalid auth token|revision of auth store is old/i.test((error as Error).message)) throw error
      this.#login = undefined
      return this.#send(method, body, await this.#metadata(), deadline)
    }
  }

  async open(method: string): Promise<Stream> {
    const metadata = this.auth ? await this.#metadata() : withoutToken
    return this.#now().makeBidiStreamRequest(`/etcdserverpb.${method}`, asIs, asIs, metadata)
  }

  /** The next call connects anew: of a connection that went silent nothing else would be heard for seconds. */
  leave(): void {
    this.#client?.close()
    this.#client = undefined
  }

  close(): void {
    this.leave()
  }

  #now(): grpc.Client {
    this.#client ??= new grpc.Client(this.#address, this.#credentials, this.options)
    return this.#client
  }

  #metadata(): Promise<grpc.Metadata> {
    this.#login ??= this.#logIn().catch((error: unknown) => {
      this.#login = undefined
      throw error
    })
    return this.#login
  }

  async #logIn(): Promise<grpc.Metadata> {
    const { user, password } = this.auth!
    const body = writeLogin(user, password)
    const answer = await this.#send('Auth/Authenticate', body, withoutToken, Date.now() + loginMs)
    return metadataWith(readLogin(answer))
  }

  #send(method: string, body: Buffer, metadata: grpc.Metadata, deadline: number): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      const options = { deadline }
      this.#now().makeUnaryRequest(`/etcdserverpb.${method}`, asIs, asIs, body, metadata, options, (error, answer) => {
        if (error) reject(error)
        else resolve(answer ?? Buffer.alloc(0))
      })
    })
  }
}
