/** What this program calls itself to others. */
import { readFileSync } from 'node:fs'

export interface Software {
  /** `0.1.0` */
  readonly version: string
  /** `rain-cloud 0.1.0` */
  readonly name: string
}

export function readSoftware(packageFile: URL): Software {
  const { version } = JSON.parse(readFileSync(packageFile, 'utf8')) as { version: string }
  return { version, name: `rain-cloud ${version}` }
}
