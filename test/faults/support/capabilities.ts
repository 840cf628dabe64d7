/** What this machine lets a test do. What it does not is a skip that is counted, and printed with its reason. */
import { spawnSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Network } from './network.js'

/** Undefined when network namespaces can be made and cut, else why not. */
export function whyNoNetwork(): string | undefined {
  if (process.getuid?.() !== 0) return 'network namespaces need root'
  try {
    const network = Network.open(2)
    try {
      network.cut(0, 1)
      network.heal()
    } finally {
      network.close()
    }
    return undefined
  } catch (error) {
    return `no network namespaces: ${(error as Error).message}`
  }
}

/** Undefined when a disk of a given size can be made, else why not. */
export function whyNoSmallDisk(): string | undefined {
  if (process.getuid?.() !== 0) return 'mounting needs root'
  const directory = mkdtempSync(join(tmpdir(), 'rain-disk-'))
  const { status, stderr } = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory], {
    encoding: 'utf8',
  })
  if (status === 0) spawnSync('umount', [directory])
  rmdirSync(directory)
  return status === 0 ? undefined : `no tmpfs: ${stderr.trim()}`
}

export function whyNoProgram(...names: readonly string[]): string | undefined {
  const missing = names.filter(name => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0)
  return missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`
}

/** A suite title that says why it is skipped. */
export const titled = (title: string, reason: string | undefined): string =>
  reason === undefined ? title : `${title} [skipped: ${reason}]`
