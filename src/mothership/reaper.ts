/**
 * Ends the processes of components when their mothership dies without a word: each of them is a group of its own, and
 * one that loops for ever never sees that its channel is closed. A shell that reads until the mothership is gone, and
 * then kills the groups that it was told of and not told to forget.
 */
import { type ChildProcess, spawn } from 'node:child_process'
import type { Log } from '../hypervisor/ports.js'

const script = `
groups=" "
while read -r what group; do
  case $what in
    +) groups="$groups$group " ;;
    -) groups="\${groups%% $group *} \${groups#* $group }" ;;
  esac
done
for group in $groups; do kill -s KILL -- "-$group" 2>/dev/null; done
`

export class Reaper {
  readonly #shell: ChildProcess

  constructor(log: Log) {
    this.#shell = spawn('/bin/sh', ['-c', script], {
      detached: true,
      env: {},
      cwd: '/',
      stdio: ['pipe', 'ignore', 'ignore'],
    })
    this.#shell.on('error', err => log.warn({ err }, 'no shell: component processes may outlive a killed mothership'))
    this.#shell.stdin?.on('error', () => undefined)
    this.#shell.unref()
  }

  watch(group: number): void {
    this.#shell.stdin?.write(`+ ${group}\n`)
  }

  forget(group: number): void {
    this.#shell.stdin?.write(`- ${group}\n`)
  }

  /** What it still watches is killed. */
  close(): void {
    this.#shell.stdin?.end()
  }
}
