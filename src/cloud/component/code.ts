/** The package's code on the server, and the package.json that node reads before its first line. */
import type { FieldError } from '../errors.js'
import type { Files } from './archive.js'
import { placeAt, readJson } from './json-text.js'
import { type Script, syntaxErrors } from './syntax.js'

/** By its statements: a package needs no package.json to use ES modules. */
export const isModule = (text: string): boolean => /^\s*(export\s|import\s+[\w{*'"])/m.test(text)

const scriptBytesMax = 4 * 1024 * 1024
const codeBytesMax = 16 * 1024 * 1024

/** What of `server/` cannot be parsed. Nothing is run. */
export async function codeErrors(files: Files): Promise<FieldError[]> {
  const manifests = manifestsOf(files)
  const errors: FieldError[] = [...manifests.errors]
  const scripts: Script[] = []
  let total = 0
  const modulesByDefault = [...files].some(([path, text]) => /^server\/.*\.js$/.test(path) && isModule(text.toString()))
  for (const [path, bytes] of files) {
    if (!isServerCode(path)) continue
    total += bytes.byteLength
    if (bytes.byteLength > scriptBytesMax) {
      errors.push({ path, message: `${bytes.byteLength} bytes, at most ${scriptBytesMax} are accepted of one script` })
    } else if (total <= codeBytesMax) {
      const text = bytes.toString()
      const script = { path, text, kind: kindOf(path, text, manifests.types, modulesByDefault) }
      scripts.push(script)
      errors.push(...mixedErrors(script))
    }
  }
  if (total > codeBytesMax) {
    errors.push({ path: 'server', message: `${total} bytes of scripts, at most ${codeBytesMax} are accepted` })
  }
  return [...errors, ...(await syntaxErrors(scripts))]
}

const isServerCode = (path: string): boolean => /^server\/.*\.[mc]?js$/.test(path)

/** One `.js` is taken as all of them are: what is written the other way fails when it is loaded. */
function mixedErrors({ path, text, kind }: Script): FieldError[] {
  const at = kind === 'module' && path.endsWith('.js') && !isModule(text) ? commonJs.exec(text) : null
  if (!at) return []
  const message = 'is CommonJS, and the package uses ES modules: call it `.cjs`, or write `export`'
  return [{ path, ...placeAt(text, at.index + at[0].length - at[0].trimStart().length), message }]
}

const commonJs = /^\s*(module\.exports\b|exports\.\w+\s*=)/m

/** As node will take it: by its name, by the package.json next above it, else by its statements. */
function kindOf(
  path: string,
  text: string,
  types: ReadonlyMap<string, string | undefined>,
  modulesByDefault: boolean,
): Script['kind'] {
  if (path.endsWith('.mjs')) return 'module'
  if (path.endsWith('.cjs')) return 'script'
  for (let at = path; at !== ''; ) {
    at = at.slice(0, Math.max(0, at.lastIndexOf('/')))
    if (!types.has(at)) continue
    const type = types.get(at)
    if (type === 'module') return 'module'
    return type === undefined && isModule(text) ? 'module' : 'script'
  }
  return modulesByDefault ? 'module' : 'script'
}

/** By directory (empty: the top), what each package.json says of the type of its modules. */
function manifestsOf(files: Files): { types: Map<string, string | undefined>; errors: FieldError[] } {
  const types = new Map<string, string | undefined>()
  const errors: FieldError[] = []
  for (const [path, bytes] of files) {
    if (path !== 'package.json' && !/^server\/(.*\/)?package\.json$/.test(path)) continue
    const reading = readJson(bytes.toString())
    if (reading.kind === 'bad') {
      errors.push({ path, ...reading.place, message: `not JSON: ${reading.message}` })
      continue
    }
    const { value } = reading
    if (typeof value !== 'object' || value === null || Array.isArray(value)) {
      errors.push({ path, line: 1, column: 1, message: 'must be a JSON object' })
      continue
    }
    const { type } = value as { type?: unknown }
    types.set(path.slice(0, Math.max(0, path.lastIndexOf('/'))), typeof type === 'string' ? type : undefined)
  }
  return { types, errors }
}
