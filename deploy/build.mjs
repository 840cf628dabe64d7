/**
 * `npm run build`: `src/` to `dist/`, a few large files instead of a thousand small ones, because a cloud on one machine
 * starts two dozen processes and each of them would look for all of these. Types are checked by `npm run check`.
 */
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { rolldown } from 'rolldown'

const root = fileURLToPath(new URL('..', import.meta.url))
const out = join(root, 'dist')

/** Packages that read files of their own beside their code, or load what may not be there. */
const apart = /^(etcd3|@grpc\/.*|pino|msgpackr-extract|bufferutil|utf-8-validate)$/

const build = await rolldown({
  cwd: root,
  platform: 'node',
  input: { main: 'src/main.ts', 'mothership/worker': 'src/mothership/worker.ts' },
  external: id => id.startsWith('node:') || apart.test(id),
})
rmSync(out, { recursive: true, force: true })
await build.write({
  dir: out,
  format: 'esm',
  entryFileNames: '[name].js',
  chunkFileNames: 'chunks/[name].js',
  sourcemap: true,
})
