/** Programs of tests that run in processes of their own, made of one file each. */
import { join } from 'node:path'
import { rolldown } from 'rolldown'

const root = join(import.meta.dirname, '..', '..')

/** `entry`: from the root of the project. Resolves with the path of the program. */
export async function bundle(entry: string, directory: string): Promise<string> {
  const build = await rolldown({
    cwd: root,
    platform: 'node',
    input: { program: entry },
    // Parts in C that may be missing.
    external: id => id.startsWith('node:') || /^(msgpackr-extract|bufferutil|utf-8-validate)$/.test(id),
  })
  await build.write({ dir: directory, format: 'esm', entryFileNames: '[name].mjs', chunkFileNames: '[name].mjs' })
  await build.close()
  return join(directory, 'program.mjs')
}
