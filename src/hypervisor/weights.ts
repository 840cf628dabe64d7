/**
 * The weights of rain servers, as every replica works them out from the same loads. Anew every two seconds at most, when
 * somebody asks: balancers are told by hints, and `GET /routes` says them to everybody else.
 */
import { settingsOf } from '../cloud/decide/verdict.js'
import { sortedIds } from '../cloud/map.js'
import { freshnessOf } from '../cloud/placement/host.js'
import { nextWeights, type ServerUse, type Weighing } from '../cloud/routing/weights.js'
import type { Clock, Loads, Maps } from './ports.js'

const everyMs = 2_000
/** After a longer while nothing of before is worth remembering. */
const forgottenAfterMs = 10_000

export class WeightBook {
  #weighing: Weighing = new Map()
  #atMs = Number.NEGATIVE_INFINITY

  constructor(
    private readonly maps: Pick<Maps, 'map'>,
    private readonly loads: Pick<Loads, 'latest'>,
    private readonly clock: Clock,
  ) {}

  /** Of every registered rain server, by id. */
  weights(): Readonly<Record<string, number>> {
    const ageMs = this.clock.nowMs() - this.#atMs
    if (ageMs >= everyMs) {
      this.#weighing = nextWeights(ageMs < forgottenAfterMs ? this.#weighing : new Map(), this.#uses())
      this.#atMs = this.clock.nowMs()
    }
    return Object.fromEntries([...this.#weighing].map(([id, { weight }]) => [id, weight]))
  }

  #uses(): ServerUse[] {
    const { map } = this.maps
    const { load } = settingsOf(map)
    const nowMs = this.clock.nowMs()
    return sortedIds(map, 'rainservers').map(id => {
      const sample = this.loads.latest({ kind: 'rainserver', id })
      const fresh = sample && freshnessOf({ ageMs: nowMs - sample.atMs }, load) === 'fresh'
      return { id, cpu: fresh ? sample.cpu : undefined }
    })
  }
}
