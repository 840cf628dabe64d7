/**
 * What is true of every map, whoever wrote it, and what is true once the leader's passes have caught up. Tests of the
 * centre, the simulation and the cluster check maps against it.
 */
import { settingsOf } from './decide/verdict.js'
import { isInstanceId } from './ids.js'
import { type CloudMap, copiesOf } from './map.js'
import { resourceNames } from './placement/host.js'
import { nothing, plus } from './placement/resources.js'
import type { ComponentRecord, InstanceRecord, Resources } from './records.js'
import { normaliseVersion } from './version.js'
import { wiringFaults } from './wiring/check.js'

/** What no transaction of a leader may break. */
export function violations(map: CloudMap): string[] {
  return [...instanceViolations(map), ...apartViolations(map), ...keyViolations(map)].sort()
}

/** What a pass mends: wiring that does not follow the map, words on copies that are none any more. */
export function loose(map: CloudMap): string[] {
  return [...wiringFaults(map), ...observedViolations(map)].sort()
}

/**
 * Motherships on which more is reserved than may be. Placement never does that; a mothership that announces less than
 * before, or a smaller over-commit in the settings, does.
 */
export function overbooked(map: CloudMap): string[] {
  const overcommit = settingsOf(map).overcommit
  const reserved = new Map<string, Resources>()
  for (const [, { value }] of map.all('instances')) {
    for (const id of copiesOf(value)) reserved.set(id, plus(reserved.get(id) ?? nothing, value.need))
  }
  const found: string[] = []
  for (const [id, { value }] of map.all('motherships')) {
    for (const name of resourceNames) {
      const [has, may] = [reserved.get(id)?.[name] ?? 0, value.capacity[name] * overcommit[name]]
      if (has > may + 1e-5) found.push(`mothership ${id}: ${has} of ${name} reserved, ${may} may be`)
    }
  }
  return found.sort()
}

function* instanceViolations(map: CloudMap): Iterable<string> {
  for (const [id, { value }] of map.all('instances')) {
    const wrong = (text: string): string => `instance ${id}: ${text}`
    const copies = copiesOf(value)
    if (id !== value.id || !isInstanceId(id)) yield wrong(`has id ${value.id}`)
    if (!value.inSync.includes(value.primary)) yield wrong(`primary ${value.primary} is not in sync`)
    if (new Set(copies).size !== copies.length) yield wrong(`has two roles on one of ${copies.join(', ')}`)
    if (!map.get('components', versionOf(value))) yield wrong(`is of ${versionOf(value)}, which is not registered`)
    for (const mothership of copies) {
      if (!map.get('motherships', mothership)) yield wrong(`has a copy on ${mothership}, which is not registered`)
    }
  }
}

const versionOf = (instance: InstanceRecord): string => `${instance.component}/${instance.version}`

/** Who wants to be alone is: on each mothership, no other instance of its component. */
function* apartViolations(map: CloudMap): Iterable<string> {
  for (const [id, { value }] of map.all('instances')) {
    if (value.placement.antiAffinity !== 'component') continue
    for (const mothership of copiesOf(value)) {
      for (const other of map.instancesOn(mothership)) {
        if (other !== id && map.get('instances', other)?.value.component === value.component) {
          yield `instance ${id}: wants to be alone on ${mothership}, where ${other} is too`
        }
      }
    }
  }
}

const componentKey = ({ id, version }: ComponentRecord): string => `${id}/${normaliseVersion(version)}`

function* keyViolations(map: CloudMap): Iterable<string> {
  for (const [key, { value }] of map.all('components')) {
    if (key !== componentKey(value)) yield `component ${key}: is ${componentKey(value)}`
  }
  for (const kind of ['motherships', 'rainservers', 'replicas', 'tokens'] as const) {
    for (const [key, { value }] of map.all(kind)) if (key !== value.id) yield `${kind} ${key}: is ${value.id}`
  }
  for (const [key, { value }] of map.all('sessions')) {
    if (key !== `${value.kind}/${value.id}`) yield `session ${key}: is of ${value.kind}/${value.id}`
  }
}

function* observedViolations(map: CloudMap): Iterable<string> {
  for (const [key] of map.all('observed')) {
    const [mothership = '', id = ''] = key.split('/')
    const instance = map.get('instances', id)?.value
    if (!instance || !copiesOf(instance).includes(mothership)) yield `observed ${key}: there is no such copy`
  }
}
