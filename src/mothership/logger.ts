/**
 * RAIN's `logger`, which is there in all of a component's code: a line for each call, marked so that the mothership can
 * tell its level and its error from what is only printed. A component that forges such a line says no more than it may.
 */
import { inspect } from 'node:util'

const levels = ['debug', 'info', 'warn', 'error', 'fatal'] as const
export type LogLevel = (typeof levels)[number]

export interface LogLine {
  readonly level: LogLevel
  readonly message: string
  readonly error?: string
}

export type Logger = Readonly<Record<LogLevel, (message: unknown, error?: unknown) => void>>

/** RFC 7464's mark of a record. */
const mark = '\u001e'
const textMax = 2_000

/** `print` gets a whole line. */
export function createLogger(print: (line: string) => void): Logger {
  const log = (level: LogLevel, message: unknown, error: unknown): void => {
    const line: LogLine = { level, message: textOf(message), ...(error === undefined ? {} : { error: textOf(error) }) }
    print(`${mark}${JSON.stringify(line)}\n`)
  }
  const entries = levels.map(level => [level, (message: unknown, error?: unknown) => log(level, message, error)])
  return Object.freeze(Object.fromEntries(entries)) as Logger
}

/** Undefined for what no logger wrote. */
export function readLogLine(line: string): LogLine | undefined {
  if (!line.startsWith(mark)) return undefined
  try {
    const { level, message, error } = JSON.parse(line.slice(mark.length)) as Partial<Record<keyof LogLine, unknown>>
    if (typeof message !== 'string' || !levels.some(each => each === level)) return undefined
    return { level: level as LogLevel, message, ...(typeof error === 'string' ? { error } : {}) }
  } catch {
    return undefined
  }
}

function textOf(value: unknown): string {
  try {
    const text = typeof value === 'string' ? value : inspect(value, { depth: 3 })
    return text.slice(0, textMax)
  } catch {
    return 'something that has no text'
  }
}
