/**
 * One process at a time for a directory. Each one that comes leaves a file with its name, then looks at the others': of
 * two that come at once both may be refused, never both let in. Files of processes that are no more are removed. A name
 * says when its process was started, so that another one with the same number does not pass for it.
 */
import { closeSync, openSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { CloudError } from '../../cloud/errors.js'

export interface DirectoryLock {
  release(): void
}

const pattern = /^\.lock\.(\d+)\.([\w-]+)$/

/** Throws `misconfigured` when another process that is alive has it. */
export function lockDirectory(directory: string): DirectoryLock {
  const own = `.lock.${process.pid}.${startOf(process.pid)}`
  const path = join(directory, own)
  try {
    closeSync(openSync(path, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') throw taken(directory, process.pid)
    throw new CloudError('misconfigured', `${directory} cannot be written: ${(error as Error).message}`, {})
  }
  for (const name of readdirSync(directory)) {
    const [, pid, start] = pattern.exec(name) ?? []
    if (pid === undefined || name === own) continue
    if (startOf(Number(pid)) === start) {
      rmSync(path, { force: true })
      throw taken(directory, Number(pid))
    }
    rmSync(join(directory, name), { force: true })
  }
  return { release: () => rmSync(path, { force: true }) }
}

const taken = (directory: string, pid: number): CloudError =>
  new CloudError(
    'misconfigured',
    `${directory} is in use by process ${pid}: stop that one, or give this mothership a data directory of its own`,
  )

/** When a process was started, in which boot; undefined when there is none. Where there is no /proc: that it is there. */
function startOf(pid: number): string | undefined {
  const boot = textOf('/proc/sys/kernel/random/boot_id')
  if (boot === undefined) return isAlive(pid) ? 'alive' : undefined
  // What comes before may hold spaces and brackets: the name of the program.
  const [state, ...fields] =
    textOf(`/proc/${pid}/stat`)
      ?.replace(/^.*\) /s, '')
      .split(' ') ?? []
  return state === undefined || state === 'Z' ? undefined : `${fields[18]}-${boot.slice(0, 8)}`
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return undefined
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM'
  }
}
