/**
 * A storage adapter of OpenComponents for a directory, in place of S3 (`storage: {adapter, options}` of its registry).
 *
 * `local: true` would need no adapter, but is meant for developing: it reads package.json, server.js and templates from the
 * disk for each request, and has clients fetch and compile a template for each component of each page. With a storage
 * the registry runs as it does in production.
 *
 * Files are kept in memory, as the adapter for S3 keeps them; JSON is parsed once, which that one does each time.
 */
import { cp, mkdir, mkdtemp, readdir, readFile, rename, rm, writeFile } from 'node:fs/promises'
import { dirname, join } from 'node:path'

export function filesAdapter({ directory, path }) {
  const kept = new Map()
  const once = (key, read, force) => {
    if (!force && kept.has(key)) return kept.get(key)
    const value = read()
    kept.set(key, value)
    value.catch(() => kept.delete(key))
    return value
  }
  const read = file => readFile(join(directory, file), 'utf8').catch(notFound('file_not_found', file))
  const getFile = (file, force) => once(`text ${file}`, () => read(file), force)
  const getJson = (file, force) => once(`json ${file}`, async () => JSON.parse(await read(file)), force)

  const putFileContent = async (content, file) => {
    const target = join(directory, file)
    await mkdir(dirname(target), { recursive: true })
    // By a rename: other registries may be reading the same directory.
    await writeFile(`${target}.${process.pid}`, content)
    await rename(`${target}.${process.pid}`, target)
  }
  /** Whole or not at all, and once: whoever comes second leaves what is there. */
  const putDir = async (from, to) => {
    const staged = await mkdtemp(join(directory, 'staged-'))
    await cp(from, staged, { recursive: true })
    await mkdir(dirname(join(directory, to)), { recursive: true })
    await rename(staged, join(directory, to)).catch(async error => {
      await rm(staged, { recursive: true, force: true })
      if (error.code !== 'ENOTEMPTY' && error.code !== 'EEXIST') throw error
    })
  }

  return {
    adapterType: 'files',
    maxConcurrentRequests: 20,
    getFile,
    getJson,
    getUrl: (component, version, file) => `${path}${component}/${version}/${file}`,
    listSubDirectories: async dir => {
      const entries = await readdir(join(directory, dir), { withFileTypes: true }).catch(notFound('dir_not_found', dir))
      return entries.filter(entry => entry.isDirectory()).map(entry => entry.name)
    },
    putDir,
    putFile: async (from, to) => putFileContent(await readFile(from), to),
    putFileContent,
  }
}

const notFound = (code, file) => error => {
  throw error.code === 'ENOENT' || error.code === 'EISDIR' ? { code, msg: `${file} was not found` } : error
}
