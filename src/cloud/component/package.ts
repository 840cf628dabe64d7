/**
 * A whole package, read and checked: nothing that can be known from its files is left to fail at the start. The same
 * reading is used where a package is deployed and where it is fetched to run.
 */
import type { FieldError } from '../errors.js'
import type { ComponentRecord } from '../records.js'
import { digestOfPackage, type Files, unpack } from './archive.js'
import { codeErrors } from './code.js'
import { type Descriptor, type DescriptorReading, readDescriptor } from './descriptor.js'
import { intentErrors } from './intents.js'
import { placesIn } from './json-text.js'
import { localeErrors } from './locales.js'
import type { Use } from './templates.js'
import { readViews } from './views.js'

export interface Package {
  readonly descriptor: Descriptor
  /** `1.0.0` */
  readonly normalised: string
  readonly digest: string
  /** Bytes of the archive. */
  readonly size: number
  /** meta.json as it is written. */
  readonly meta: string
  readonly views: ComponentRecord['views']
  readonly files: Files
}

export type PackageReading =
  | { readonly kind: 'good'; readonly package: Package }
  | { readonly kind: 'bad'; readonly errors: readonly FieldError[] }

const metaBytesMax = 64 * 1024
const errorsMax = 100

/** Finds all that is wrong, in every file, not the first of it alone. */
export async function readPackage(bytes: Uint8Array): Promise<PackageReading> {
  const unpacked = await unpack(bytes)
  const { files, errors: refused = [] } = { errors: undefined, ...unpacked }
  if (!files) return bad(refused)
  const meta = files.get('meta.json')?.toString() ?? ''
  const reading = readMeta(files)
  const described = reading.kind === 'good' ? reading.descriptor : (reading.described ?? {})
  const views = readViews(described, files)
  const errors = [
    ...refused,
    ...(reading.kind === 'bad' ? reading.errors : []),
    ...views.errors,
    ...(await codeErrors(files)),
    ...localeErrors(files),
    ...intentErrors(described, files),
  ]
  if (errors.length > 0 || reading.kind === 'bad') return bad(placed(errors, meta))
  const { descriptor, normalised } = reading
  return {
    kind: 'good',
    package: {
      descriptor,
      normalised,
      digest: digestOfPackage(bytes),
      size: bytes.byteLength,
      meta,
      views: views.views.map(({ uses, ...view }) => ({ ...view, uses: uses.map(use => whole(use, descriptor)) })),
      files,
    },
  }
}

const bad = (errors: readonly FieldError[]): PackageReading => ({ kind: 'bad', errors: errors.slice(0, errorsMax) })

function readMeta(files: Files): DescriptorReading {
  const meta = files.get('meta.json')
  const wrong = (message: string): DescriptorReading => ({ kind: 'bad', errors: [{ path: 'meta.json', message }] })
  if (!meta) return wrong('is missing: every package has one at its top')
  if (meta.byteLength > metaBytesMax) return wrong(`larger than ${metaBytesMax} bytes`)
  const reading = readDescriptor(meta.toString())
  if (reading.kind === 'good') return reading
  return { ...reading, errors: reading.errors.map(each => ({ ...each, path: `meta.json#${each.path}` })) }
}

/** What a descriptor may say, and this release cannot do. */
/** With line and column of whatever is told of meta.json by its pointer alone; file by file, from top to bottom. */
function placed(errors: readonly FieldError[], meta: string): FieldError[] {
  const placeOf = placesIn(meta)
  const byFile = new Map<string, FieldError[]>()
  for (const each of errors) {
    const [file = '', pointer] = each.path.split('#')
    const error = pointer === undefined || each.line !== undefined ? each : { ...each, ...placeOf(pointer) }
    byFile.set(file, [...(byFile.get(file) ?? []), error])
  }
  const downwards = (a: FieldError, b: FieldError): number =>
    (a.line ?? 0) - (b.line ?? 0) || (a.column ?? 0) - (b.column ?? 0)
  return [...byFile.values()].flatMap(each => each.sort(downwards))
}

/** Neither name nor version: the same component in the same version, unless only run time shows which. */
const whole = (use: Use, { id, version }: Descriptor): Use =>
  use.component === undefined && !use.any ? { ...use, component: id, version } : use

/** What the `deploy` command says of the package; chunks are known once it is stored. */
export function componentOf(
  read: Omit<Package, 'files'>,
  chunks: number,
): Omit<ComponentRecord, 'schema' | 'active' | 'activation' | 'deployedAt' | 'deployedBy'> {
  const { descriptor, digest, size, meta, views } = read
  const { id, version, description, pageTitle, placement, need } = descriptor
  return {
    id,
    version,
    digest,
    size,
    chunks,
    meta,
    views,
    isolation: descriptor.isolation ?? 'shared',
    state: descriptor.state ?? 'none',
    ...(description === undefined ? {} : { description }),
    ...(pageTitle === undefined ? {} : { pageTitle }),
    ...(placement === undefined ? {} : { placement }),
    ...(need === undefined ? {} : { need }),
  }
}
