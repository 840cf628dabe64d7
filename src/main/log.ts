/** Structured logs to standard output, one JSON object a line. */
import pino from 'pino'
import { CloudError } from '../cloud/errors.js'
import type { Log } from '../hypervisor/ports.js'

export const logLevels: readonly string[] = ['trace', 'debug', 'info', 'warn', 'error', 'silent']

/** Throws `misconfigured` for a level that there is not. */
export function createLog(role: string, id: string, level: string): Log {
  if (!logLevels.includes(level)) {
    throw new CloudError('misconfigured', `--log-level ${JSON.stringify(level)}: one of ${logLevels.join(', ')}`)
  }
  const log = pino({ level, base: { role, id }, timestamp: pino.stdTimeFunctions.isoTime })
  return {
    info: (fields, message) => log.info(fields, message),
    warn: (fields, message) => log.warn(fields, message),
    error: (fields, message) => log.error(fields, message),
  }
}
