/**
 * What HAProxy is to do, worked out from the wanted state: a group of servers for every url pattern, and the replicas.
 * Pure. Which slot a server has is kept from one shape to the next, so that a change touches what changed only.
 */
import { createHash } from 'node:crypto'
import { isIP } from 'node:net'
import { Compile } from 'typebox/compile'
import { isUrlPattern } from '../cloud/commands.js'
import { WantedBackend, WantedReplica } from '../protocol/messages.js'

/** `gone` servers stay in: their last wanted state may still serve, so the health checks decide. */
export interface Target {
  readonly id: string
  readonly host: string
  readonly port: number
  readonly draining: boolean
}

/** Index = slot. */
export type Slots = readonly (Target | null)[]

export interface Group {
  /** The url pattern; empty for the group of the replicas. */
  readonly pattern: string
  readonly name: string
  readonly slots: Slots
}

export interface Shape {
  readonly pages: readonly Group[]
  readonly api: Group
}

export interface WantedTargets {
  readonly servers: readonly (Target & { readonly urls: readonly string[] })[]
  readonly replicas: readonly Target[]
}

const backend = Compile(WantedBackend)
const replica = Compile(WantedReplica)

/** What can be read is taken; what cannot is told. */
export function readTargets(entries: ReadonlyMap<string, unknown>): {
  targets: WantedTargets
  refused: { key: string; reason: string }[]
} {
  const servers: (Target & { urls: readonly string[] })[] = []
  const replicas: Target[] = []
  const refused: { key: string; reason: string }[] = []
  for (const [key, value] of entries) {
    if (key.startsWith('rainservers/') && backend.Check(value)) {
      const at = addressOf(value.address)
      const wrong = value.urls.filter(url => !isUrlPattern(url))
      for (const url of wrong) refused.push({ key, reason: `${JSON.stringify(url)} is no url pattern` })
      const urls = value.urls.filter(url => !wrong.includes(url))
      if (at) servers.push({ id: value.id, ...at, draining: value.state === 'draining', urls })
      else refused.push({ key, reason: `${value.address} is not http://host:port` })
    } else if (key.startsWith('replicas/') && replica.Check(value)) {
      const at = addressOf(value.url)
      if (at) replicas.push({ id: value.id, ...at, draining: false })
      else refused.push({ key, reason: `${value.url} is not http://host:port` })
    } else refused.push({ key, reason: 'cannot be read by this release' })
  }
  return { targets: { servers, replicas }, refused }
}

/** Undefined for what HAProxy could not dial, or what would not be one word in its configuration. */
export function addressOf(url: string): { host: string; port: number } | undefined {
  if (!URL.canParse(url)) return undefined
  const { protocol, hostname, port } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, '')
  if (protocol !== 'http:' || !(isIP(host) > 0 || /^[A-Za-z0-9]([A-Za-z0-9.-]{0,252}[A-Za-z0-9])?$/.test(host))) {
    return undefined
  }
  return { host, port: port === '' ? 80 : Number(port) }
}

const apiName = 'api'

export function shapeOf(targets: WantedTargets, slotsMin: number, before?: Shape): Shape {
  const patterns = [...new Set(targets.servers.flatMap(each => each.urls))].sort()
  const known = new Map(before?.pages.map(group => [group.pattern, group]))
  const pages = patterns.map(pattern => {
    const members = targets.servers.filter(each => each.urls.some(url => covers(url, pattern)))
    return { pattern, name: nameOf(pattern), slots: fill(members, slotsMin, known.get(pattern)?.slots) }
  })
  return { pages, api: { pattern: '', name: apiName, slots: fill(targets.replicas, slotsMin, before?.api.slots) } }
}

/** Whether all paths of `narrow` are paths of `wide`. */
export function covers(wide: string, narrow: string): boolean {
  if (wide === narrow) return true
  if (!wide.endsWith('/*')) return false
  const prefix = wide.slice(0, -1)
  const path = narrow.endsWith('/*') ? narrow.slice(0, -1) : narrow
  return path.startsWith(prefix) || (narrow === wide.slice(0, -2) && narrow !== '')
}

/** Readable, unique, and a word for HAProxy. */
function nameOf(pattern: string): string {
  const word = pattern
    .replace(/[^A-Za-z0-9]+/g, '-')
    .replace(/^-|-$/g, '')
    .slice(0, 40)
  const hash = createHash('sha256').update(pattern).digest('hex').slice(0, 16)
  return `pages-${word === '' ? 'all' : word}-${hash}`
}

/** Who has a slot keeps it; there are always as many free ones as asked, in powers of two. */
function fill(members: readonly Target[], slotsMin: number, before: Slots = []): Slots {
  const left = new Map(members.map(({ id, host, port, draining }) => [id, { id, host, port, draining }]))
  const count = Math.max(before.length, slotsMin, 2 ** Math.ceil(Math.log2(members.length + 1)))
  const slots: (Target | null)[] = Array.from({ length: count }, (_, index) => {
    const kept = before[index] && left.get(before[index].id)
    if (kept) left.delete(kept.id)
    return kept ?? null
  })
  for (const target of [...left.values()].sort((a, b) => (a.id < b.id ? -1 : 1))) {
    slots[slots.indexOf(null)] = target
  }
  return slots
}

/** A change of these cannot be made while HAProxy runs: it needs a reload. */
export function sameFrame(a: Shape, b: Shape): boolean {
  const frame = ({ pages, api }: Shape): string =>
    JSON.stringify([...pages, api].map(group => [group.name, group.slots.length, ...namedHosts(group)]))
  return frame(a) === frame(b)
}

/** Hosts by name are resolved when the configuration is read. */
const namedHosts = ({ slots }: Group): string[] =>
  slots.flatMap((target, index) =>
    target && isIP(target.host) === 0 ? [`${index}=${target.host}:${target.port}`] : [],
  )

/** Commands of the runtime API that lead from one shape to another of the same frame. */
export function commandsBetween(before: Shape, after: Shape): string[] {
  const commands: string[] = []
  for (const group of [...after.pages, after.api]) {
    const old = [...before.pages, before.api].find(each => each.name === group.name)
    for (const [index, target] of group.slots.entries()) {
      commands.push(...slotCommands(`${group.name}/s${index + 1}`, old?.slots[index] ?? null, target))
    }
  }
  return commands
}

function slotCommands(slot: string, before: Target | null, after: Target | null): string[] {
  if (!after) return before ? [`set server ${slot} state maint`] : []
  const state = `set server ${slot} state ${after.draining ? 'drain' : 'ready'}`
  if (before && before.host === after.host && before.port === after.port) {
    return before.draining === after.draining ? [] : [state]
  }
  const park = before ? [`set server ${slot} state maint`] : []
  return [...park, `set server ${slot} addr ${after.host} port ${after.port}`, `enable health ${slot}`, state]
}
