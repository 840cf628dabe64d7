/** The real world behind the ports of time and chance. */
import { randomBytes } from 'node:crypto'
import { delimiter } from 'node:path'
import type { Chance, Clock } from '../hypervisor/ports.js'

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  after: (delayMs, run) => {
    const timer = setTimeout(run, delayMs)
    return () => clearTimeout(timer)
  },
}

export const systemChance: Chance = {
  next: () => Math.random(),
  id: length =>
    randomBytes(Math.ceil(length / 2))
      .toString('hex')
      .slice(0, length),
}

const systemDirectories = ['/usr/local/sbin', '/usr/sbin', '/sbin']

/** A PATH that finds system programs too: Debian keeps HAProxy where only root looks. */
export function withSystemDirectories(path = '/usr/local/bin:/usr/bin:/bin'): string {
  const known = path.split(delimiter)
  return [path, ...systemDirectories.filter(each => !known.includes(each))].join(delimiter)
}
