/** Packages the component `fragment` with OpenComponents' own packaging and puts it into a storage, once. */
import { cp, mkdtemp, rm, symlink } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import oc from 'oc'

export const component = { name: 'fragment', version: '1.0.0' }

export async function packagedOnce(adapter, directory, componentsDir) {
  const place = `${componentsDir}/${component.name}/${component.version}`
  if (await adapter.getJson(`${place}/package.json`, true).catch(() => undefined)) return
  const source = await mkdtemp(join(directory, 'source-'))
  try {
    await cp(here('oc-fragment'), source, { recursive: true })
    await cp(here('fragment.mjs'), join(source, 'fragment.mjs'))
    // The compiler is looked for there, and installed from the network when it is not.
    await symlink(here('node_modules'), join(source, 'node_modules'))
    await promisify(oc.cli.package)({ componentPath: source })
    await adapter.putDir(join(source, '_package'), place)
  } finally {
    await rm(source, { recursive: true, force: true })
  }
}

const here = file => fileURLToPath(new URL(file, import.meta.url))
