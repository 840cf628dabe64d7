/** Many simulated nodes: sessions over real websockets, which apply whatever is wanted and do nothing else. */
import { NodeSession } from '../../../src/sdk/node-session.js'
import { nowMs } from './clients.js'
import type { FaultCloud } from './cloud.js'
import { sleep } from './rounds.js'

const quiet = { info() {}, warn() {}, error() {} }

export class Nodes {
  /** Since when each one has a session. */
  readonly live = new Map<string, number>()
  /** When each one lost its session. */
  readonly lost = new Map<string, number>()
  readonly #sessions: NodeSession[] = []

  /** All of them at one replica, one after the other; they learn of the others there. */
  async start(cloud: FaultCloud, replica: number, ids: readonly string[], everyMs: number): Promise<void> {
    for (const id of ids) {
      const session = new NodeSession({
        node: { kind: 'rainserver', id },
        hypervisors: [cloud.replicas[replica]!.url],
        token: cloud.tokenOf(`rainserver/${id}`),
        hello: () => ({ address: 'http://127.0.0.1:9', urls: [`/${id}/*`] }),
        onWanted: async () => [],
        onStatus: status => this.#note(id, status === 'live'),
        log: quiet,
      })
      this.#sessions.push(session)
      session.start()
      await sleep(everyMs)
    }
  }

  #note(id: string, live: boolean): void {
    if (live) this.live.set(id, nowMs())
    else if (this.live.delete(id)) this.lost.set(id, nowMs())
  }

  async stop(): Promise<void> {
    await Promise.all(this.#sessions.map(each => each.stop()))
  }
}
