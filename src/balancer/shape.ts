/**
 * What HAProxy is to do, worked out from the wanted state: a group of servers for every url pattern, and the replicas.
 * Pure. Groups and their slots are made in advance, so that patterns and servers come and go while HAProxy runs; which
 * group a pattern has and which slot a server has is kept from one shape to the next, so that a change touches what
 * changed only.
 */
import { isIP } from 'node:net'
import { Compile } from 'typebox/compile'
import { isUrlPattern } from '../cloud/commands.js'
import { covers } from '../cloud/routing/routing.js'
import { usualWeight, weightMax, weightMin } from '../cloud/routing/weights.js'
import { WantedBackend, WantedReplica } from '../protocol/messages.js'

/** `gone` servers stay in: their last wanted state may still serve, so the health checks decide. */
export interface Target {
  readonly id: string
  readonly host: string
  readonly port: number
  readonly draining: boolean
}

/** `weight`: its share of new visitors; 0 keeps those who have its cookie, and takes nobody else. */
export type Placed = Target & { readonly weight: number }

/** Index = slot. */
export type Slots = readonly (Placed | null)[]

export interface Group {
  /** The url pattern; null for one that is free, and for the group of the replicas. */
  readonly pattern: string | null
  readonly name: string
  readonly slots: Slots
}

export interface Shape {
  /** Index = number of the group, for as long as it has that pattern. */
  readonly pages: readonly Group[]
  readonly api: Group
}

export interface WantedTargets {
  readonly servers: readonly (Target & { readonly urls: readonly string[] })[]
  readonly replicas: readonly Target[]
}

export type Weights = ReadonlyMap<string, number>

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

/** Of a hint: what is no weight is passed over. */
export const readWeights = (given: Readonly<Record<string, number>>): Weights =>
  new Map(
    Object.entries(given).flatMap(([id, weight]): [string, number][] => {
      const whole = Math.round(weight)
      return whole >= weightMin && whole <= weightMax ? [[id, whole]] : []
    }),
  )

const apiName = 'api'
const groupsMin = 4
const none: Weights = new Map()

/** Who has a group or a slot keeps it: what stays the same needs no command. */
export function shapeOf(targets: WantedTargets, slotsMin: number, before?: Shape, weights: Weights = none): Shape {
  const patterns = [...new Set(targets.servers.flatMap(each => each.urls))].sort()
  const members = new Map(patterns.map(pattern => [pattern, membersOf(targets, pattern)]))
  const most = Math.max(0, ...[...members.values()].map(each => each.length))
  // As many in each, so that any group may become any pattern's.
  const slots = Math.max(slotsMin, before?.pages[0]?.slots.length ?? 0, roomFor(most))
  const pages = groupsFor(patterns, before?.pages ?? []).map((pattern, index): Group => {
    const old = before?.pages[index]
    const kept = old?.pattern === pattern ? old.slots : []
    const here = pattern === null ? [] : members.get(pattern)!
    return { pattern, name: `pages-${index + 1}`, slots: fill(here, slots, kept, weights) }
  })
  const { replicas } = targets
  const apiSlots = Math.max(slotsMin, before?.api.slots.length ?? 0, roomFor(replicas.length))
  return {
    pages,
    api: { pattern: null, name: apiName, slots: fill(replicas, apiSlots, before?.api.slots ?? [], none) },
  }
}

const membersOf = ({ servers }: WantedTargets, pattern: string): readonly Target[] =>
  servers.filter(each => each.urls.some(url => covers(url, pattern)))

/** In powers of two, and always with one that is free: doubling is what needs a reload. */
const roomFor = (count: number): number => 2 ** Math.ceil(Math.log2(count + 1))

/** Which group has which pattern. New ones take what was free before, so that no group changes its pattern at once. */
function groupsFor(patterns: readonly string[], before: readonly Group[]): (string | null)[] {
  const left = new Set(patterns)
  const count = Math.max(before.length, groupsMin, roomFor(patterns.length))
  const groups = Array.from({ length: count }, (_, index): string | null => {
    const pattern = before[index]?.pattern ?? null
    return pattern !== null && left.delete(pattern) ? pattern : null
  })
  const free = groups.flatMap((pattern, index) => (pattern === null ? [index] : []))
  const taken = (index: number): number => Number(typeof before[index]?.pattern === 'string')
  free.sort((a, b) => taken(a) - taken(b) || a - b)
  for (const pattern of left) groups[free.shift()!] = pattern
  return groups
}

function fill(members: readonly Target[], count: number, before: Slots, weights: Weights): Slots {
  const left = new Map(members.map(each => [each.id, placed(each, weights)]))
  const slots = Array.from({ length: count }, (_, index) => {
    const kept = before[index] && left.get(before[index].id)
    if (kept) left.delete(kept.id)
    return kept ?? null
  })
  // Rather where nobody was: whoever leaves stays until the others are good.
  const free = slots.flatMap((each, index) => (each ? [] : [index]))
  free.sort((a, b) => Number(Boolean(before[a])) - Number(Boolean(before[b])) || a - b)
  for (const target of [...left.values()].sort((a, b) => (a.id < b.id ? -1 : 1))) slots[free.shift()!] = target
  return slots
}

const placed = ({ id, host, port, draining }: Target, weights: Weights): Placed => ({
  id,
  host,
  port,
  draining,
  weight: draining ? 0 : (weights.get(id) ?? usualWeight),
})

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

/** Addresses that a health check calls good now. */
export type Up = ReadonlySet<string>
export const addressText = (host: string, port: number): string => `${host} ${port}`

/**
 * What HAProxy is to be started or reloaded with when a shape is wanted: it takes every server for good until its first
 * check, so those that are not known to be so are left out, and put in while it runs.
 */
export function beginning(shape: Shape, up: Up): Shape {
  const known = (target: Placed): boolean => isIP(target.host) === 0 || up.has(addressText(target.host, target.port))
  const only = (group: Group): Group => ({
    ...group,
    slots: group.slots.map(each => (each && known(each) ? each : null)),
  })
  return { pages: shape.pages.map(only), api: only(shape.api) }
}
