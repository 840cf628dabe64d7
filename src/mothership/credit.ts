/**
 * Flow control of a link to a rain server: answers go as long as there is credit, and wait in order when there is none,
 * so that a rain server that is busy is not buried under what it has asked for, and its signs of life still come through.
 */
import { linkCreditBytes } from '../protocol/messages.js'

export interface WaitingAnswer {
  readonly r: number
  readonly frame: Uint8Array
}

/** So much may wait; what comes after that is refused. */
const waitingBytesMax = 16 * 1024 * 1024

export class Credit {
  /** Undefined until the rain server speaks of credit. */
  #left: number | undefined
  #waiting: WaitingAnswer[] = []
  #bytes = 0

  constructor(private readonly send: (frame: Uint8Array) => void) {}

  /** Whether what is offered goes at once. */
  get flows(): boolean {
    return this.#left === undefined || (this.#left > 0 && this.#waiting.length === 0)
  }

  /** False: too much waits already. */
  offer(answer: WaitingAnswer): boolean {
    const { byteLength } = answer.frame
    if (this.#left === undefined) {
      this.send(answer.frame)
      return true
    }
    if (this.#left > 0 && this.#waiting.length === 0) {
      this.#spend(answer)
      return true
    }
    if (this.#bytes + byteLength > waitingBytesMax) return false
    this.#waiting.push(answer)
    this.#bytes += byteLength
    return true
  }

  grant(bytes: number): void {
    this.#left = Math.min(linkCreditBytes, (this.#left ?? linkCreditBytes) + bytes)
    let sent = 0
    while (this.#left > 0 && sent < this.#waiting.length) {
      const answer = this.#waiting[sent++]!
      this.#bytes -= answer.frame.byteLength
      this.#spend(answer)
    }
    this.#waiting.splice(0, sent)
  }

  /** Nobody waits for it any more. */
  drop(r: number): void {
    const at = this.#waiting.findIndex(each => each.r === r)
    if (at < 0) return
    this.#bytes -= this.#waiting[at]!.frame.byteLength
    this.#waiting.splice(at, 1)
  }

  get waiting(): number {
    return this.#waiting.length
  }

  #spend({ frame }: WaitingAnswer): void {
    this.#left! -= frame.byteLength
    this.send(frame)
  }
}
