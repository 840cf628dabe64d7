/** What rain servers have to know of a deployed version beyond its record: from its meta.json, read once for each record. */
import { type Descriptor, readDescriptor } from './descriptor.js'
import { intentsOf, type OfferedIntent } from './intents.js'

interface Told {
  readonly intents: readonly OfferedIntent[]
  readonly useSession: boolean
}

const read = new WeakMap<object, Told>()
const nothing: Told = { intents: [], useSession: false }

export const offeredIntents = (record: { readonly meta: string }): readonly OfferedIntent[] => toldOf(record).intents

export const usesSession = (record: { readonly meta: string }): boolean => toldOf(record).useSession

function toldOf(record: { readonly meta: string }): Told {
  let told = read.get(record)
  if (!told) read.set(record, (told = readMeta(record.meta)))
  return told
}

function readMeta(meta: string): Told {
  // Most versions have neither, and a cloud has many.
  if (!/"(intents|useSession)"/.test(meta)) return nothing
  const reading = readDescriptor(meta)
  return reading.kind === 'bad' ? nothing : toldBy(reading.descriptor)
}

const toldBy = (descriptor: Descriptor): Told => ({
  intents: intentsOf(descriptor).map(({ category, action, provider }) => ({ category, action, provider })),
  useSession: descriptor.useSession === true,
})
