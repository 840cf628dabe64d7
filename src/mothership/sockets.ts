/**
 * Components' own websockets on this mothership. A socket belongs to the process that it was opened at: when its instance
 * goes, or another process serves it, the socket is closed, and the browser opens one anew.
 */
import type { Failed } from './component-process.js'
import type { Runner } from './instances.js'
import type { SocketCall } from './ipc.js'
import { goneCode, type OpenSocket, type SocketEvents } from './process-sockets.js'

interface Held {
  readonly instance: string
  readonly runner: Runner
  readonly events: SocketEvents
  readonly socket: OpenSocket
}

export class Sockets {
  readonly #held = new Set<Held>()

  /** `runnerOf`: the process that serves an instance now. */
  constructor(private readonly runnerOf: (instance: string) => Runner | Failed) {}

  async open(call: SocketCall, events: SocketEvents, deadlineMs: number): Promise<OpenSocket | Failed> {
    const runner = this.runnerOf(call.instance)
    if ('kind' in runner) return runner
    let held: Held | undefined
    let ended: readonly [code: number, reason: string] | undefined
    const opened = await runner.open(
      call,
      {
        onSaid: text => events.onSaid(text),
        onSession: change => events.onSession(change),
        onClosed: (code, reason) => {
          ended = [code, reason]
          if (held) this.#held.delete(held)
          events.onClosed(code, reason)
        },
      },
      deadlineMs,
    )
    if ('kind' in opened) return opened
    if (!ended) this.#held.add((held = { instance: call.instance, runner, events, socket: opened }))
    // It may have moved while it was opened.
    this.sweep()
    return {
      hear: text => opened.hear(text),
      close: () => {
        if (held) this.#held.delete(held)
        opened.close()
      },
    }
  }

  get count(): number {
    return this.#held.size
  }

  /** Closes those whose instance is not served any more by the process that they were opened at. */
  sweep(): void {
    for (const held of this.#held) {
      if (this.runnerOf(held.instance) === held.runner) continue
      this.#held.delete(held)
      held.socket.close()
      held.events.onClosed(goneCode, 'the instance is served elsewhere now')
    }
  }
}
