/** `up.json`: what runs where, for people and programs; and what a data directory was made for. */
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { CloudError } from '../../cloud/errors.js'
import type { Sizes } from './layout.js'

export interface UpState {
  readonly api: string
  readonly pages: string
  readonly console: string
  readonly prometheus: string
  readonly tokens: { readonly admin: string; readonly operator: string; readonly viewer: string }
  readonly replicas: readonly Running[]
  readonly motherships: readonly Running[]
  readonly rainServers: readonly Running[]
  readonly balancers: readonly { readonly id: string; readonly pid: number; readonly haproxyPid: number }[]
  readonly etcd: readonly Running[]
  /** The process that looks after all of them, and Prometheus. */
  readonly supervisor: number
  readonly prometheusPid: number
}

export interface Running {
  readonly id: string
  readonly url: string
  readonly pid: number
}

const upFile = (dataDir: string): string => join(dataDir, 'up.json')

export function writeState(dataDir: string, state: UpState): void {
  replaceFile(upFile(dataDir), state)
}

/** Undefined when no cloud was started here, or the file cannot be read. */
export function readState(dataDir: string): UpState | undefined {
  try {
    return JSON.parse(readFileSync(upFile(dataDir), 'utf8')) as UpState
  } catch {
    return undefined
  }
}

function replaceFile(path: string, value: unknown): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(value, null, 2)}\n`, { mode: 0o600 })
  renameSync(`${path}.new`, path)
}

/** All processes that the state names. */
export const pidsOf = (state: UpState): number[] =>
  [
    ...[...state.balancers.flatMap(each => [each.pid, each.haproxyPid]), state.prometheusPid],
    ...[...state.rainServers, ...state.motherships, ...state.replicas, ...state.etcd].map(each => each.pid),
  ].filter(pid => pid > 1)

/** Throws `misconfigured` when it cannot be written. */
export function openDataDir(dataDir: string): void {
  try {
    mkdirSync(join(dataDir, 'logs'), { recursive: true, mode: 0o700 })
    writeFileSync(join(dataDir, '.writable'), '', { mode: 0o600 })
    rmSync(join(dataDir, '.writable'))
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException
    throw new CloudError('misconfigured', `--data-dir ${dataDir} cannot be written (${code ?? 'unknown'})`)
  }
}

/** Members of etcd keep their number and addresses in their data. Throws `misconfigured` when these are other ones. */
export function claimDataDir(dataDir: string, { etcd, portBase }: Sizes): void {
  const path = join(dataDir, 'cloud.json')
  const made = existsSync(join(dataDir, 'etcd')) ? readMade(path) : undefined
  if (!made) return replaceFile(path, { etcd, portBase })
  if (made.etcd === etcd && made.portBase === portBase) return
  throw new CloudError(
    'misconfigured',
    `${dataDir} holds a cloud that was made with --etcd ${made.etcd} --port-base ${made.portBase}: give these, or take another --data-dir`,
  )
}

function readMade(path: string): { etcd: number; portBase: number } | undefined {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as { etcd: number; portBase: number }
  } catch {
    return undefined
  }
}
