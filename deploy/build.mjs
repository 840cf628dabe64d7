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

rmSync(out, { recursive: true, force: true })
await program({ main: 'src/main.ts' })
// Components start in moments and by the dozen: their program shares no chunk, and nothing is in it for the sake of what
// it would do as it is loaded, when nothing of it is used. The centre is pure, and so are these libraries; schemas and
// their library would be half of the time that a process takes to start.
const pure = /\/(src\/cloud|node_modules\/(typebox|acorn))\//
await program(
  { 'mothership/worker': 'src/mothership/worker.ts' },
  { treeshake: { moduleSideEffects: id => !pure.test(id) } },
)

async function program(input, options = {}) {
  const build = await rolldown({
    cwd: root,
    platform: 'node',
    input,
    external: id => id.startsWith('node:') || apart.test(id),
    ...options,
  })
  await build.write({
    dir: out,
    format: 'esm',
    entryFileNames: '[name].js',
    chunkFileNames: 'chunks/[name].js',
    sourcemap: true,
  })
}
