/** A port that is taken is said in one line, with what to do. */
import { CloudError } from '../cloud/errors.js'

const causes: Readonly<Record<string, string>> = {
  EADDRINUSE: 'another program has it already: take another --port, or stop that one',
  EACCES: 'not allowed: take a --port above 1023',
  EADDRNOTAVAIL: 'this machine has no such address: look at --host',
}

export function listenError(error: unknown, host: string, port: number): unknown {
  const { code } = error as NodeJS.ErrnoException
  const cause = code === undefined ? undefined : causes[code]
  return cause === undefined
    ? error
    : new CloudError('misconfigured', `cannot listen on ${host}:${port}: ${cause}`, {}, { cause: error })
}
