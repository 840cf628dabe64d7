/** An instance's configuration as etcd holds it and as its copies read it back (reliability.md, section 3, rule 1). */
import type { InstanceRecord } from '../records.js'

export interface Configuration {
  readonly epoch: number
  readonly primary: string
  /** With the primary. */
  readonly inSync: readonly string[]
  readonly learners: readonly string[]
  /** Which journal counts, by mothership: another one there has forgotten (rule 12). */
  readonly journals: Readonly<Record<string, string>>
  /** Fewer copies in sync than that, and nothing may be changed (rule 5). */
  readonly inSyncMin: number
}

export function configurationOf({
  epoch,
  primary,
  inSync,
  learners,
  journals,
  placement,
}: InstanceRecord): Configuration {
  return { epoch, primary, inSync, learners, journals: journals ?? {}, inSyncMin: placement.inSyncMin ?? 1 }
}
