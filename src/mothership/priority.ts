/**
 * Which processes of components stand behind the others when the processors are short: those that have died of late.
 * To start one costs a fraction of a second of processor time, and one that dies at once takes it again and again.
 *
 * Linux: a nice value belongs to each thread; where sessions are scheduled as groups (autogroup), and every process of a
 * component is a session, only that of the group counts. Only root can take back what it gave: others leave it alone.
 */
import { readdirSync, writeFileSync } from 'node:fs'
import { setPriority } from 'node:os'

/** About a tenth of the weight of the others. */
const behindNice = 10

const mayReturn = process.getuid?.() === 0

/** False where nothing was changed. What is gone already is nobody's trouble. */
export function standBehind(pid: number): boolean {
  return mayReturn && change(pid, behindNice)
}

export function standBesideOthers(pid: number): void {
  if (mayReturn) change(pid, 0)
}

function change(pid: number, nice: number): boolean {
  try {
    for (const thread of readdirSync(`/proc/${pid}/task`)) setPriority(Number(thread), nice)
  } catch {
    return false
  }
  try {
    writeFileSync(`/proc/${pid}/autogroup`, String(nice))
  } catch {
    // This kernel has no such groups: the threads' own values count.
  }
  return true
}
