/**
 * What operators change while the cloud runs. A stored record may say less than all of it (an older release wrote it,
 * or a test): what is missing is as by default, so that a release may add a setting without a migration.
 */
import Type, { type Static, type TObject, type TObjectOptions, type TSchema } from 'typebox'
import { componentIdPattern } from './ids.js'
import { Resources } from './resources.js'

const strict = { additionalProperties: false }
const share = { minimum: 0, maximum: 1 }
/** One number for each resource, within bounds. */
const perResource = (minimum: number, maximum: number) => {
  const amount = Type.Number({ minimum, maximum })
  return Type.Object({ cpu: amount, ram: amount, bandwidth: amount })
}
const expression = Type.String({ minLength: 1, maxLength: 2_000 })
const milliseconds = (minimum: number, maximum: number) => Type.Integer({ minimum, maximum })

/** How measured load ages, and how it is smoothed. */
const Load = Type.Object({
  /** Up to this age a sample is fresh, up to `staleMs` ageing; after that declared needs stand in. */
  freshMs: milliseconds(500, 30_000),
  staleMs: milliseconds(1_000, 30_000),
  /** Measured cpu and ram rise at once, and half of a fall is believed after this time. */
  halfLifeMs: milliseconds(0, 3_600_000),
  /** Bandwidth comes in bursts: what it stayed below in this share of the window counts. */
  bandwidthPercentile: Type.Number({ minimum: 0.5, maximum: 1 }),
  bandwidthWindowMs: milliseconds(1_000, 300_000),
})

/**
 * What Prometheus is asked for, once for all motherships; `label` of each answer names the mothership. `$percentile` and
 * `$window` stand for those of bandwidth.
 */
const Prometheus = Type.Object({
  cpu: expression,
  ram: expression,
  bandwidth: expression,
  /** Seconds since the epoch at which the samples were scraped; empty: taken for fresh as they are told. */
  at: Type.String({ maxLength: 2_000 }),
  label: Type.String({ pattern: '^[a-zA-Z_][a-zA-Z0-9_]{0,127}$' }),
  everyMs: milliseconds(500, 60_000),
  timeoutMs: milliseconds(100, 30_000),
})

/**
 * What each soft term may cost a mothership, as pressure does, in shares of capacity: a zone that has more copies of the
 * component version than others; a copy beside one of the version that stands on one or two motherships only; a
 * mothership without its code, the less the more hold it; new wires of the rain servers that need it.
 */
const Preferences = Type.Object({
  zones: Type.Number(share),
  apart: Type.Number(share),
  code: Type.Number(share),
  wires: Type.Number(share),
})

/** When instances are moved from motherships that are fuller than others. */
const Rebalance = Type.Object({
  /** Whether the leader does it unasked. */
  automatic: Type.Boolean(),
  /**
   * How far the fullest mothership, or the emptiest, is from the mean, in shares of capacity, now or (when a day is known)
   * at a moment like those of the last week: begins above, ends below.
   */
  startAbove: Type.Number(share),
  stopBelow: Type.Number(share),
  /** By how much a move has to lower the pressure where the instance stands, as a share of capacity, at such a moment. */
  minGain: Type.Number(share),
  movesPerMinute: Type.Integer({ minimum: 1, maximum: 10_000 }),
  /** When instances are moved, half of a fall of what a component uses is believed after this time. */
  halfLifeMs: milliseconds(0, 86_400_000),
  /** An instance that was moved stays for so long. */
  coolDownMs: milliseconds(0, 86_400_000),
  /** How long nothing is moved after a mothership came or went. */
  quietMs: milliseconds(0, 3_600_000),
})

/** Which rain server talks to which motherships. */
const Wiring = Type.Object({
  /**
   * With how many motherships a rain server can make each thing that its urls reach, where so many have a copy. Three by
   * default: so many copies a page tries, and with two nothing is left while one is refreshed and another one dies.
   */
  redundancy: Type.Integer({ minimum: 1, maximum: 16 }),
  /** How far above the mean measured load of a mothership is, in shares of capacity, before wires are moved away. */
  hotAbove: Type.Number({ minimum: 0.01, maximum: 1 }),
  /** So many at most for load alone; 0: none. */
  movesPerMinute: Type.Integer({ minimum: 0, maximum: 10_000 }),
})

/** When a mothership gets no more instances of a version that keeps failing there. */
const Quarantine = Type.Object({
  failures: Type.Integer({ minimum: 1, maximum: 100 }),
  withinMs: milliseconds(1_000, 86_400_000),
  forMs: milliseconds(1_000, 86_400_000),
})

const language = Type.String({ pattern: '^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,3}$' })

/** In which languages pages are. */
const Languages = Type.Object({
  /** Where nothing else is asked for, and where a component has no translation into what is. */
  default: language,
  /** What a browser may choose from; empty: whatever it asks for first. */
  offered: Type.Array(language, { maxItems: 200 }),
})

const fields = {
  /** From the loss of a node's session until its stateless work is placed again. */
  lostAfterMs: milliseconds(1_000, 3_600_000),
  /** What an instance needs whose descriptor and request say nothing. */
  defaultNeed: Resources,
  /** Measured pressure above which nothing more is placed, per resource, as a share of capacity (0.9, not 90). */
  ceilings: perResource(0.01, 10),
  /** Reservable share of capacity, per resource. */
  overcommit: perResource(0.01, 100),
  policy: Type.Union([Type.Literal('spread'), Type.Literal('pack'), Type.Literal('balanced')]),
  weights: perResource(0, 1000),
  preferences: Preferences,
  fragmentDeadlineMs: milliseconds(10, 60_000),
  pageDeadlineMs: milliseconds(10, 120_000),
  /** What the packages of all deployed versions may take together in etcd, MiB. */
  packageBudgetMiB: Type.Integer({ minimum: 1, maximum: 1_048_576 }),
  errorComponent: Type.Union([Type.Null(), Type.String({ pattern: componentIdPattern })]),
  /** Its `index` stands where a template says `placeholder=true`, until what is late there comes. */
  loadingComponent: Type.Union([Type.Null(), Type.String({ pattern: componentIdPattern })]),
  languages: Languages,
  load: Load,
  prometheus: Prometheus,
  rebalance: Rebalance,
  quarantine: Quarantine,
  wiring: Wiring,
}
type Fields = typeof fields

const schema = Type.Integer({ minimum: 1 })

export const Settings = Type.Object({ schema, ...fields })
export type Settings = Static<typeof Settings>
/** Groups and resources may be given in part, too. */
export type SettingsPart = {
  [Name in keyof Fields]?: Settings[Name] extends object ? Partial<Settings[Name]> : Settings[Name]
}

const isGroup = (type: TSchema): type is TObject => 'properties' in type

function partly(options: TObjectOptions): Record<string, TSchema> {
  return Object.fromEntries(
    Object.entries(fields).map(([name, type]) => [
      name,
      Type.Optional(isGroup(type) ? Type.Object(Type.Partial(type).properties, options) : type),
    ]),
  )
}

/** What etcd holds. */
export const SettingsRecord = Type.Unsafe<{ schema: number } & SettingsPart>(Type.Object({ schema, ...partly({}) }))
/** What a caller changes. */
export const SettingsChange = Type.Unsafe<SettingsPart>(Type.Object(partly(strict), { ...strict, minProperties: 1 }))

const ownLoad = (resource: string): string => `rain_mothership_load{resource="${resource}"}`

export const defaultSettings: Settings = {
  schema: 1,
  lostAfterMs: 10_000,
  defaultNeed: { cpu: 50, ram: 32, bandwidth: 100 },
  ceilings: { cpu: 0.9, ram: 0.95, bandwidth: 0.9 },
  overcommit: { cpu: 1, ram: 1, bandwidth: 1 },
  policy: 'spread',
  weights: { cpu: 1, ram: 1, bandwidth: 1 },
  preferences: { zones: 0.05, apart: 0.05, code: 0.002, wires: 0.002 },
  fragmentDeadlineMs: 1000,
  pageDeadlineMs: 3000,
  packageBudgetMiB: 512,
  errorComponent: null,
  loadingComponent: null,
  languages: { default: 'en_US', offered: [] },
  load: { freshMs: 5_000, staleMs: 15_000, halfLifeMs: 15_000, bandwidthPercentile: 0.95, bandwidthWindowMs: 60_000 },
  prometheus: {
    cpu: ownLoad('cpu'),
    ram: ownLoad('ram'),
    bandwidth: `quantile_over_time($percentile, ${ownLoad('bandwidth')}[$window])`,
    at: `timestamp(${ownLoad('cpu')})`,
    label: 'id',
    everyMs: 2_000,
    timeoutMs: 1_500,
  },
  rebalance: {
    automatic: true,
    startAbove: 0.2,
    stopBelow: 0.1,
    minGain: 0.05,
    movesPerMinute: 30,
    halfLifeMs: 7_200_000,
    coolDownMs: 600_000,
    quietMs: 30_000,
  },
  quarantine: { failures: 3, withinMs: 600_000, forMs: 600_000 },
  wiring: { redundancy: 3, hotAbove: 0.2, movesPerMinute: 60 },
}

const completed = new WeakMap<object, Settings>()

/** With what the part leaves out as by default. The same object for the same part: it is asked for with each decision. */
export function complete(part: SettingsPart): Settings {
  let whole = completed.get(part)
  if (!whole) completed.set(part, (whole = merged(defaultSettings, part)))
  return whole
}

/** The settings with the change in them; of groups and resources, only what the change names is another one. */
export function merged(before: Settings, change: SettingsPart): Settings {
  const after: Record<string, unknown> = { ...before }
  for (const [name, value] of Object.entries(change)) {
    const group = typeof value === 'object' && value !== null
    after[name] = group ? { ...(after[name] as object), ...value } : value
  }
  return after as Settings
}

export interface Contradiction {
  readonly path: string
  readonly message: string
}

/** What no schema says: settings that cannot hold together. */
export function contradictionsIn(settings: Settings): Contradiction[] {
  const { fragmentDeadlineMs, pageDeadlineMs, load, rebalance, prometheus, weights } = settings
  const found: Contradiction[] = []
  const refuse = (wrong: boolean, path: string, message: string): void => {
    if (wrong) found.push({ path, message })
  }
  refuse(fragmentDeadlineMs > pageDeadlineMs, '/fragmentDeadlineMs', 'must not be longer than pageDeadlineMs')
  refuse(load.freshMs > load.staleMs, '/load/freshMs', 'must not be longer than staleMs')
  refuse(rebalance.stopBelow > rebalance.startAbove, '/rebalance/stopBelow', 'must not be above startAbove')
  refuse(prometheus.timeoutMs > prometheus.everyMs, '/prometheus/timeoutMs', 'must not be longer than everyMs')
  refuse(
    prometheus.everyMs > load.staleMs,
    '/prometheus/everyMs',
    'must not be longer than load.staleMs: samples would be stale before the next ones come',
  )
  refuse(weights.cpu + weights.ram + weights.bandwidth === 0, '/weights', 'must not all be 0')
  return found
}

/** What Prometheus is asked by these settings. */
export function questionsOf({ prometheus, load }: Pick<Settings, 'prometheus' | 'load'>): Settings['prometheus'] {
  const asked = (question: string): string =>
    question
      .replaceAll('$percentile', String(load.bandwidthPercentile))
      .replaceAll('$window', `${load.bandwidthWindowMs}ms`)
  const { cpu, ram, bandwidth, at } = prometheus
  return { ...prometheus, cpu: asked(cpu), ram: asked(ram), bandwidth: asked(bandwidth), at: asked(at) }
}
