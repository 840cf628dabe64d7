/**
 * What a component prints, in the mothership's log: as much of it as a log can take. Lines above the rate are counted
 * and left out; above what is worth reading at all, the component waits until the second is over.
 */
import type { Readable } from 'node:stream'
import type { Clock, Log } from '../hypervisor/ports.js'
import { type LogLine, readLogLine } from './logger.js'

export interface OutputOptions {
  readonly component: string
  readonly version: string
  readonly clock: Clock
  readonly log: Log
}

const windowMs = 1_000
/** In a second. */
const [linesMax, charactersMax] = [50, 4_000_000]
/** Of a line that is read; of one that is logged. */
const [readMax, lineMax] = [16_000, 2_000]
const wordsMax = 300

export class Output {
  #windowMs = Number.NEGATIVE_INFINITY
  #lines = 0
  #characters = 0
  #leftOut = 0
  #paused: Readable[] = []
  #cancel: (() => void) | undefined
  /** The last error that was printed, as far as one line tells it: why it died, when it dies of that. */
  lastError: string | undefined

  constructor(private readonly options: OutputOptions) {}

  /** Until the stream ends. */
  read(stream: Readable, name: 'stdout' | 'stderr'): void {
    let begun = ''
    stream.setEncoding('utf8')
    stream.on('data', (text: string) => {
      const lines = (begun + text).split('\n')
      // Of a line that does not end, only its beginning is kept.
      begun = lines.pop()!.slice(0, readMax)
      for (const line of lines) this.#onLine(line, name)
      this.#count(stream, text.length)
    })
    stream.on('end', () => {
      if (begun !== '') this.#onLine(begun, name)
    })
    stream.on('error', () => undefined)
  }

  #onLine(text: string, stream: 'stdout' | 'stderr'): void {
    if (text.trim() === '') return
    const line = readLogLine(text)
    if (stream === 'stderr' && /^(\w*Error\b|Uncaught )/.test(text)) this.lastError = text.slice(0, wordsMax)
    this.#turn()
    if (this.#lines >= linesMax) {
      this.#leftOut++
      return
    }
    this.#lines++
    this.#say(line ?? { level: stream === 'stderr' ? 'warn' : 'info', message: text }, stream)
  }

  #say({ level, message, error }: LogLine, stream: string): void {
    const { component, version, log } = this.options
    const fields = {
      component,
      version,
      stream,
      ...(level === 'debug' || level === 'fatal' ? { level } : {}),
      ...(error === undefined ? {} : { error: error.slice(0, lineMax) }),
    }
    const text = message.slice(0, lineMax)
    if (level === 'warn') log.warn(fields, text)
    else if (level === 'error' || level === 'fatal') log.error(fields, text)
    else log.info(fields, text)
  }

  #count(stream: Readable, characters: number): void {
    this.#turn()
    this.#characters += characters
    if (this.#characters < charactersMax) return
    stream.pause()
    this.#paused.push(stream)
  }

  /** A new second, when the last one is over. */
  #turn(): void {
    const nowMs = this.options.clock.nowMs()
    if (nowMs - this.#windowMs < windowMs) return
    this.#windowMs = nowMs
    this.#lines = 0
    this.#characters = 0
    this.#cancel ??= this.options.clock.after(windowMs, () => this.#endOfSecond())
  }

  #endOfSecond(): void {
    this.#cancel = undefined
    if (this.#leftOut > 0) {
      const { component, version, log } = this.options
      log.warn({ component, version, lines: this.#leftOut }, 'a component prints too much: lines were left out')
      this.#leftOut = 0
    }
    for (const stream of this.#paused.splice(0)) stream.resume()
  }
}
