/** Translations of a package: `locale/<language>/….po`, and `locale/<language>.po`. */
import type { FieldError } from '../errors.js'
import { type Catalog, readPo } from '../translation/po.js'
import { languageKey, Translations } from '../translation/translations.js'

type Files = Iterable<readonly [path: string, bytes: Uint8Array]>

const languageOf = (path: string): string | undefined => /^locale\/([^/]+?)(?:\/.*)?\.po$/.exec(path)?.[1]

/** What cannot be read, with the line. */
export function localeErrors(files: Files): FieldError[] {
  const errors: FieldError[] = []
  for (const [path, bytes] of files) {
    const language = languageOf(path)
    if (language === undefined) continue
    if (!/^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8})*$/.test(language)) {
      errors.push({ path, message: `"${language}" is not a language like "de" or "de_DE"` })
    }
    const reading = readPo(bytes)
    if (reading.kind === 'bad') errors.push(...reading.errors.map(each => errorAt(path, each)))
  }
  return errors
}

const errorAt = (path: string, { line, message }: { line: number; message: string }): FieldError => ({
  path,
  line,
  message,
})

/** Files that cannot be read are left out: they were refused when the package was deployed. */
export function translationsOf(files: Files): Translations {
  const catalogs = new Map<string, Catalog[]>()
  for (const [path, bytes] of [...files].sort(([a], [b]) => (a < b ? 1 : -1))) {
    const language = languageOf(path)
    const reading = language === undefined ? undefined : readPo(bytes)
    if (language === undefined || reading?.kind !== 'good') continue
    const key = languageKey(language)
    catalogs.set(key, [...(catalogs.get(key) ?? []), reading.catalog])
  }
  return new Translations(catalogs)
}
