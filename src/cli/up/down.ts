/** `rain down`: ends the cloud of a data directory, and whatever a crash left of it. */
import { rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { CloudError } from '../../cloud/errors.js'
import { belongsTo, childPids, isAlive, isSupervisor, killGroup } from './child.js'
import { pidsOf, readState } from './state.js'

const supervisorWithinMs = 30_000

export async function down(options: { readonly dataDir: string }): Promise<number> {
  const dataDir = resolve(options.dataDir)
  const state = readState(dataDir)
  if (!state) throw new CloudError('misconfigured', `no cloud was started in ${dataDir}: give its --data-dir`)
  if (isSupervisor(state.supervisor)) {
    process.kill(state.supervisor, 'SIGTERM')
    await until(() => !isAlive(state.supervisor), supervisorWithinMs)
  }
  const left = await endLeftovers(dataDir)
  process.stdout.write(left > 0 ? `stopped, with ${left} processes that were left over\n` : 'stopped\n')
  return 0
}

/** Ends processes of the state that still run though nobody looks after them. Resolves with their number. */
export async function endLeftovers(dataDir: string): Promise<number> {
  const state = readState(dataDir)
  if (!state) return 0
  const left = pidsOf(state).filter(pid => isAlive(pid) && belongsTo(pid, dataDir))
  const all = [...new Set([...left.flatMap(childPids), ...left])]
  for (const pid of all) signal(pid, 'SIGTERM')
  await until(() => !all.some(isAlive), 3_000)
  for (const pid of all.filter(isAlive)) {
    signal(pid, 'SIGKILL')
    killGroup(pid)
  }
  rmSync(join(dataDir, 'up.json'), { force: true })
  return left.length
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name)
  } catch {
    // It ended meanwhile.
  }
}

async function until(check: () => boolean, withinMs: number): Promise<void> {
  const untilMs = performance.now() + withinMs
  while (!check() && performance.now() < untilMs) await new Promise(resolve => setTimeout(resolve, 50))
}
