/**
 * `log/decisions/{turn}`: why the instances of one transaction are where they are. Hundreds of decisions go into one
 * value and most of what they say is the same, so what is named is named once, and the rest are rows of numbers.
 */
import Type, { type Static } from 'typebox'
import { Compile } from 'typebox/compile'
import type { Decided } from '../cloud/decide/verdict.js'
import { CloudError } from '../cloud/errors.js'
import { Decision } from '../cloud/records.js'
import type { Clock, Decisions } from '../hypervisor/ports.js'
import type { Etcd } from './etcd.js'
import { retryRead } from './failures.js'
import type { Keys } from './keys.js'
import { json, parseJson } from './values.js'

const readMs = 2_000
const index = Type.Integer({ minimum: 0 })

const Written = Type.Object({
  schema: Type.Literal(1),
  motherships: Type.Array(Type.String()),
  /** Names of the score's terms, in the order of the rows. */
  terms: Type.Array(Type.String()),
  decisions: Type.Record(
    Type.String(),
    Type.Object({
      revision: index,
      at: Type.String(),
      refused: Type.Optional(Type.Record(Type.String(), index)),
      /** Of each candidate: mothership, score, cpu, ram, bandwidth, age of the load (null: none), then its terms. */
      rows: Type.Array(Type.Array(Type.Union([Type.Number(), Type.Null()]))),
    }),
  ),
})
type Written = Static<typeof Written>

const written = Compile(Written)
const decision = Compile(Decision)

/** Numbers names in the order in which they come. */
class Names {
  readonly #numbers = new Map<string, number>()

  of(name: string): number {
    let number = this.#numbers.get(name)
    if (number === undefined) this.#numbers.set(name, (number = this.#numbers.size))
    return number
  }

  get all(): string[] {
    return [...this.#numbers.keys()]
  }
}

export function writeDecisions(decided: readonly Decided[]): Uint8Array {
  const motherships = new Names()
  const terms = termsOf(decided)
  const row = ({ mothership, score, terms: scored, pressure, loadAgeMs }: Candidate): (number | null)[] => {
    const cells = [motherships.of(mothership), score, pressure.cpu, pressure.ram, pressure.bandwidth, loadAgeMs]
    for (const name of terms) cells.push(scored[name] ?? null)
    return cells
  }
  const decisions: Written['decisions'] = {}
  for (const { instance, decision } of decided) {
    const { decisionRevision: revision, at, candidates, refusedByRule: refused } = decision
    const rows = candidates.map(row)
    decisions[instance] = hasAny(refused) ? { revision, at, refused, rows } : { revision, at, rows }
  }
  return json({ schema: 1, motherships: motherships.all, terms, decisions } satisfies Written)
}

type Candidate = Decision['candidates'][number]

/** Mostly those of the first one. */
function termsOf(decided: readonly Decided[]): string[] {
  const names = new Set<string>()
  for (const { decision } of decided) {
    for (const { terms } of decision.candidates) for (const name in terms) names.add(name)
  }
  return [...names]
}

const hasAny = (record: object): boolean => {
  for (const _ in record) return true
  return false
}

/** Undefined when the value has no decision on this instance. Throws `unreadable-value`. */
export function readDecision(bytes: Uint8Array, instance: string): Decision | undefined {
  const value = parseJson(bytes)
  if (!written.Check(value)) throw unreadable(instance)
  const found = Object.hasOwn(value.decisions, instance) ? value.decisions[instance] : undefined
  if (!found) return undefined
  const candidates = found.rows.map(([mothership, score, cpu, ram, bandwidth, loadAgeMs, ...scored]) => ({
    mothership: value.motherships[mothership ?? -1],
    score,
    terms: Object.fromEntries(value.terms.map((name, at) => [name, scored[at]]).filter(([, term]) => term != null)),
    pressure: { cpu, ram, bandwidth },
    loadAgeMs,
  }))
  const { revision: decisionRevision, at, refused: refusedByRule = {} } = found
  const whole = { decisionRevision, at, candidates, refusedByRule }
  if (!decision.Check(whole)) throw unreadable(instance)
  return whole
}

const unreadable = (instance: string): CloudError =>
  new CloudError('unreadable-value', `the decision kept for ${instance} cannot be read`)

export class EtcdDecisions implements Decisions {
  constructor(
    private readonly etcd: Etcd,
    private readonly keys: Keys,
    private readonly clock: Clock,
  ) {}

  async read(turn: number, instance: string): Promise<Decision | undefined> {
    const key = this.keys.decisions(turn)
    const { items } = await retryRead(this.clock, readMs, deadlineMs => this.etcd.range({ key }, deadlineMs))
    return items[0] && readDecision(items[0].value, instance)
  }
}
