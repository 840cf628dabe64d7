/**
 * Copies that failed lately, by mothership and component version: so many within a time make a quarantine. In the
 * leader's memory; a new leader counts anew, from the copies that are failed then.
 */
import type { Failure } from '../cloud/decide/quarantine.js'
import { settingsOf } from '../cloud/decide/verdict.js'
import type { CloudMap } from '../cloud/map.js'
import type { ObservedRecord } from '../cloud/records.js'

/** More than this are not remembered: the oldest go. */
const knownMax = 10_000

export class Failures {
  readonly #atMs = new Map<string, number[]>()
  readonly #due = new Map<string, Failure>()

  constructor(private readonly nowMs: () => number) {}

  /** Whether somebody is to be quarantined. */
  get pending(): boolean {
    return this.#due.size > 0
  }

  /** `observed`: `mothership/instance`. */
  note(map: CloudMap, observed: string, { reason = 'it failed' }: ObservedRecord): void {
    const slash = observed.indexOf('/')
    const instance = map.get('instances', observed.slice(slash + 1))?.value
    if (!instance) return
    const mothership = observed.slice(0, slash)
    const version = `${instance.component}/${instance.version}`
    const key = `${mothership}/${version}`
    const { failures, withinMs } = settingsOf(map).quarantine
    const nowMs = this.nowMs()
    const lately = [...(this.#atMs.get(key) ?? []), nowMs].filter(atMs => atMs > nowMs - withinMs).slice(-failures)
    this.#atMs.delete(key)
    this.#atMs.set(key, lately)
    for (const oldest of this.#atMs.keys()) {
      if (this.#atMs.size <= knownMax) break
      this.#atMs.delete(oldest)
    }
    if (lately.length >= failures) this.#due.set(key, { mothership, version, reason })
  }

  take(): Failure[] {
    const due = [...this.#due.values()]
    for (const key of this.#due.keys()) this.#atMs.delete(key)
    this.#due.clear()
    return due
  }
}
