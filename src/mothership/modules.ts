/** The package's own code, in whichever of the two forms of modules it is written. */
import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { pathToFileURL } from 'node:url'
import { isModule } from '../cloud/component/code.js'

export type Loaded = Readonly<Record<string, unknown>>

/** Nothing where there is no such file; throws what the module throws. */
export async function loadModule(path: string): Promise<Loaded> {
  if (!existsSync(path)) return {}
  if (isModule(readFileSync(path, 'utf8'))) return (await import(pathToFileURL(path).href)) as Loaded
  return createRequire(path)(path) as Loaded
}

/** What every object has is none: a view may be called `constructor`. */
export function functionOf(module: Loaded, name: string): ((...args: never[]) => unknown) | undefined {
  const found = module[name]
  if (typeof found !== 'function' || found === Object.prototype[name as keyof object]) return undefined
  return found as (...args: never[]) => unknown
}
