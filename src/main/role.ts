/** A role as a process: started, stopped by a signal, ended with a clear word and a code when it cannot go on. */
import { CloudError } from '../cloud/errors.js'

export interface Running {
  /** Where it can be reached, for people. */
  readonly says: string
  stop(): Promise<void>
  /** Rejects when the process should end and be started anew. */
  readonly broken?: Promise<never>
}

const stopWithinMs = 15_000

/** Resolves with the exit code once the role has stopped. */
export async function runUntilSignal(start: () => Promise<Running>): Promise<number> {
  const running = await start()
  process.stdout.write(`${running.says}\n`)
  const signal = new Promise<number>(resolve => {
    for (const name of ['SIGINT', 'SIGTERM'] as const) process.once(name, () => resolve(0))
  })
  const broken = running.broken?.catch((error: unknown) => {
    process.stderr.write(`rain: ${oneLine(error)}\n`)
    return 70
  })
  const code = await Promise.race(broken ? [signal, broken] : [signal])
  const timer = setTimeout(() => {
    process.stderr.write(`rain: did not stop within ${stopWithinMs / 1000} s, ending\n`)
    process.exit(code || 75)
  }, stopWithinMs)
  await running.stop()
  clearTimeout(timer)
  return code
}

/** What went wrong, for people: one line, no stack. */
export function oneLine(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error)
  const known = error instanceof CloudError
  const cause = !known && error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : ''
  return `${text}${cause}`.replace(/\s*\n\s*/g, ' ').slice(0, 2_000)
}
