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

/** Random bytes are fetched for many ids at once: the call costs as much as parsing a request. */
const poolBytes = 4_096
let pool = ''
let taken = 0

function hex(length: number): string {
  if (length > poolBytes) return randomBytes(length).toString('hex').slice(0, length)
  if (pool.length - taken < length) {
    pool = randomBytes(poolBytes).toString('hex')
    taken = 0
  }
  taken += length
  return pool.slice(taken - length, taken)
}

export const systemChance: Chance = {
  next: () => Math.random(),
  id: hex,
}

const systemDirectories = ['/usr/local/sbin', '/usr/sbin', '/sbin']

/** A PATH that finds system programs too: Debian keeps HAProxy where only root looks. */
export function withSystemDirectories(path = '/usr/local/bin:/usr/bin:/bin'): string {
  const known = path.split(delimiter)
  return [path, ...systemDirectories.filter(each => !known.includes(each))].join(delimiter)
}
