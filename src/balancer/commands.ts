/**
 * The way from one shape to another of the same frame, as commands of HAProxy's runtime API, in two steps. Pure. First
 * patterns that go are forgotten and servers come in; then patterns that come are sent to them, and servers that
 * nothing is sent to any more are parked. Between the two, what came in has time for its first check, so no request
 * meets a group that is being emptied or filled.
 */
import { exactRows, prefixRows } from './maps.js'
import { addressText, type Group, type Placed, type Shape, type Up } from './shape.js'

/** Identifiers of the maps in the running process. */
export interface MapIds {
  readonly exact: string
  readonly prefix: string
}

export interface Steps {
  readonly first: string[]
  readonly second: string[]
  /** Of each group in which nobody is good yet, its slots: one of them should be good between the steps. */
  readonly awaited: readonly (readonly string[])[]
}

export function stepsBetween(before: Shape, after: Shape, up: Up, maps: MapIds): Steps {
  const exact = mapChange(exactRows, before, after, maps.exact)
  const prefix = mapChange(prefixRows, before, after, maps.prefix)
  const servers = serverChanges(before, after, up)
  return {
    first: [...exact.gone, ...prefix.gone, ...servers.come],
    second: [...exact.come, ...prefix.come, ...servers.gone],
    awaited: awaitedIn(before, after, up),
  }
}

/** Nobody waits for a group in which nothing changes: whoever is not good there may not be for long. */
function awaitedIn(before: Shape, after: Shape, up: Up): string[][] {
  const old = new Map([...before.pages, before.api].map(group => [group.name, group]))
  const isGood = ({ host, port }: Placed): boolean => up.has(addressText(host, port))
  return [...after.pages, after.api].flatMap(group => {
    const [was, now] = [takers(old.get(group.name)), takers(group)]
    const came = [...now].some(([slot, target]) => !sameAddress(was.get(slot), target))
    const goodWent = [...was].some(([slot, target]) => isGood(target) && !now.has(slot))
    return (came || goodWent) && now.size > 0 && ![...now.values()].some(isGood) ? [[...now.keys()]] : []
  })
}

/** Who takes new visitors, by slot. */
const takers = (group: Group | undefined): Map<string, Placed> =>
  new Map(
    (group?.slots ?? []).flatMap((each, index): [string, Placed][] =>
      each && each.weight > 0 ? [[slotName(group!, index), each]] : [],
    ),
  )

const sameAddress = (a: Placed | null | undefined, b: Placed): boolean => a?.host === b.host && a.port === b.port

interface Change {
  readonly gone: string[]
  readonly come: string[]
}

function mapChange(rowsOf: typeof exactRows, before: Shape, after: Shape, id: string): Change {
  const old = new Map(rowsOf(before))
  const now = new Map(rowsOf(after))
  const gone = [...old.keys()].filter(key => !now.has(key)).map(key => `del map ${id} ${word(key)}`)
  const come = [...now].flatMap(([key, name]) => {
    const known = old.get(key)
    if (known === name) return []
    return [`${known === undefined ? 'add' : 'set'} map ${id} ${word(key)} ${name}`]
  })
  return { gone, come }
}

/** One word on a line of commands. */
const word = (text: string): string => text.replace(/[\\;"'<\s]/g, '\\$&')

function serverChanges(before: Shape, after: Shape, up: Up): Change {
  const old = new Map([...before.pages, before.api].map(group => [group.name, group]))
  const gone: string[] = []
  const come: string[] = []
  for (const group of [...after.pages, after.api]) {
    for (const [index, target] of group.slots.entries()) {
      const was = old.get(group.name)?.slots[index] ?? null
      const slot = slotName(group, index)
      if (!target && was) gone.push(`set server ${slot} state maint`)
      if (target && sameAddress(was, target) && target.weight === 0) gone.push(...slotCommands(slot, was, target, up))
      else if (target) come.push(...slotCommands(slot, was, target, up))
    }
  }
  return { gone, come }
}

export const slotName = (group: Group, index: number): string => `${group.name}/s${index + 1}`

function slotCommands(slot: string, before: Placed | null, after: Placed, up: Up): string[] {
  const weight = `set server ${slot} weight ${after.weight}`
  if (sameAddress(before, after)) return before?.weight === after.weight ? [] : [weight]
  const park = before ? [`set server ${slot} state maint`] : []
  const address = `set server ${slot} addr ${after.host} port ${after.port}`
  const known = up.has(addressText(after.host, after.port))
  return [
    ...park,
    address,
    `enable health ${slot}`,
    weight,
    ...(known ? [] : notYet(slot)),
    `set server ${slot} state ready`,
  ]
}

/** Who leaves maintenance counts as good until the first check. By way of `drain` it can be called down before that. */
const notYet = (slot: string): string[] => [`set server ${slot} state drain`, `set server ${slot} health down`]
