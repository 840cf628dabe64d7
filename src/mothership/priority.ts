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
  let threads: string[]
  try {
    threads = readdirSync(`/proc/${pid}/task`)
  } catch {
    return false
  }
  for (const thread of threads) {
    // One may have ended meanwhile: the others count all the same.
    attempt(() => setPriority(Number(thread), nice))
  }
  // Where the kernel has no such groups, the threads' own values count.
  attempt(() => writeFileSync(`/proc/${pid}/autogroup`, String(nice)))
  return true
}

function attempt(step: () => void): void {
  try {
    step()
  } catch {
    // It is a wish, and nothing depends on it.
  }
}
