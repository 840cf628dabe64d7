/** One real rain server between a replica and two motherships of the test's own, and a browser that sends what it is told. */
import { type IncomingHttpHeaders, request } from 'node:http'
import type { WantedComponent, WantedServer, WantedWire } from '../../src/protocol/messages.js'
import { type RainServer, startRainServer } from '../../src/rain-server/rain-server.js'
import { waitUntil } from './etcd.js'
import { FakeMothership } from './fake-mothership.js'
import { FakeReplica } from './fake-replica.js'
import { TestLog } from './logs.js'
import { testClock } from './plain-store.js'

export interface Wish {
  readonly server?: Partial<WantedServer>
  readonly components: readonly WantedComponent[]
  readonly wires?: readonly WantedWire[]
}

export interface Reply {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
}

export interface Asking {
  readonly method?: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string
}

/** With a copy on each mothership named, called after component and mothership: `news.m1`. */
export const aVersion = (id: string, on: readonly string[], more: Partial<WantedComponent> = {}): WantedComponent => ({
  id,
  version: '1.0.0',
  exact: '1.0',
  active: true,
  views: ['index'],
  copies: on.map(mothership => ({ instance: `${id}.${mothership}`, mothership, epoch: 1 })),
  ...more,
})

export class SmallCloud {
  readonly log = new TestLog()

  private constructor(
    readonly replica: FakeReplica,
    readonly m1: FakeMothership,
    readonly m2: FakeMothership,
  ) {}

  server!: RainServer

  static async start(): Promise<SmallCloud> {
    const [replica, m1, m2] = await Promise.all([
      FakeReplica.start(),
      FakeMothership.start('m1'),
      FakeMothership.start('m2'),
    ])
    const cloud = new SmallCloud(replica, m1, m2)
    cloud.server = await startRainServer(
      {
        id: 'r1',
        host: '127.0.0.1',
        port: 0,
        metricsPort: 1,
        logLevel: 'silent',
        hypervisors: [replica.url],
        token: 'token-of-r1',
        address: 'http://127.0.0.1:1',
        labels: {},
        urls: ['/*'],
      },
      { log: cloud.log, clock: testClock },
    )
    return cloud
  }

  /** The wanted state, applied, with the links that it asks for open. */
  async want({ server, components, wires = [this.m1.wire(), this.m2.wire()] }: Wish): Promise<void> {
    const revision = this.replica.want({
      server: {
        urls: ['/*'],
        generation: 0,
        fragmentDeadlineMs: 10_000,
        pageDeadlineMs: 15_000,
        errorComponent: null,
        ...server,
      },
      ...Object.fromEntries(components.map(each => [`components/${each.id}/${each.version}`, each])),
      ...Object.fromEntries(wires.map(each => [`wires/${each.mothership}`, each])),
    })
    await waitUntil('it is applied', () => this.replica.applied.some(each => each.o[1] === revision))
    const wired = (each: FakeMothership): boolean => wires.some(wire => wire.mothership === each.id)
    await waitUntil('the links are there', () =>
      [this.m1, this.m2].every(each => each.links.size === (wired(each) ? 1 : 0)),
    )
  }

  forget(): void {
    this.m1.forget()
    this.m2.forget()
  }

  /** The path as it is, whatever a browser would make of it. */
  ask(path: string, { method = 'GET', headers = { accept: 'text/html' }, body }: Asking = {}): Promise<Reply> {
    return new Promise((resolve, reject) => {
      const { port } = this.server
      const asked = request({ host: '127.0.0.1', port, path, method, headers, agent: false }, response => {
        const parts: Buffer[] = []
        response.on('data', part => parts.push(part as Buffer))
        response.on('end', () =>
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            body: Buffer.concat(parts).toString(),
          }),
        )
      })
      asked.on('error', reject)
      asked.end(body)
    })
  }

  async stop(): Promise<void> {
    await this.server.stop()
    await Promise.all([this.m1.close(), this.m2.close(), this.replica.close()])
  }
}

/** What is in the body of a finished page. */
export const bodyOf = ({ body }: Reply): string => /<body>\n(.*)\n<\/body>/s.exec(body)?.[1] ?? ''

/** Without the `<div data-rain-component …>` that each fragment stands in. */
export const bare = (reply: Reply): string =>
  bodyOf(reply)
    .replace(/<div data-rain-component[^>]*>/g, '[')
    .replaceAll('</div>', ']')
