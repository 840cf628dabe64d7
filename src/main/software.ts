/** What this program calls itself to others. */
import { readFileSync } from 'node:fs'

const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8')) as {
  version: string
}

export const softwareVersion = version
export const software = `rain-cloud ${version}`
