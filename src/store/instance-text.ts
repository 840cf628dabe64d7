/**
 * Instances as this product writes them, read fast: a start reads a million of them. Of the text of a record two long
 * parts are the same as in many others, what it is an instance of and where it is; each is parsed and checked once. A
 * text that is written in any other way is not for here, and is read as JSON: so this is a short cut, never another
 * format. (The parts are JSON objects each, of known fields, so what they are cut from is the object of all fields.)
 */
import Type from 'typebox'
import { Compile } from 'typebox/compile'
import { type InstanceRecord, kinds } from '../cloud/records.js'
import { compactInstance, Shared } from './compact.js'

const begin = '{"schema":1,"id":"'
const whatBegins = '","component":'
const whereBegins = ',"epoch":'
const tailBegins = ',"createdAt":"'
const tail = /^,"createdAt":"(\d{4}-\d\d-\d\dT[\d:.]{8,15}Z)","decidedIn":(0|[1-9]\d{0,14})\}$/

type What = Pick<InstanceRecord, 'component' | 'version' | 'owner' | 'need' | 'placement'>
type Where = Pick<InstanceRecord, 'epoch' | 'primary' | 'inSync' | 'learners' | 'generation'>

/** Parts that were seen, parsed; null for one that is not exactly these fields in this order. */
function parts<P extends object>(
  fields: readonly (keyof InstanceRecord & string)[],
  schema: (value: unknown) => boolean,
) {
  return new Shared<P | null>(text => {
    const value = parsed(text)
    if (!schema(value)) return null
    const record = value as Partial<InstanceRecord>
    const expected = fields.filter(field => field !== 'owner' || record.owner !== undefined)
    if (Object.keys(record).join() !== expected.join()) return null
    return compactInstance(record) as P
  })
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(`{${text}}`)
  } catch {
    return undefined
  }
}

const whatFields = ['component', 'version', 'owner', 'need', 'placement'] as const
const whereFields = ['epoch', 'primary', 'inSync', 'learners', 'generation'] as const
const whatSchema = Compile(Type.Pick(kinds.instances, [...whatFields]))
const whereSchema = Compile(Type.Pick(kinds.instances, [...whereFields]))
const idSchema = Compile(Type.Pick(kinds.instances, ['id']))
const whats = parts<What>(whatFields, value => whatSchema.Check(value))
const wheres = parts<Where>(whereFields, value => whereSchema.Check(value))

/** Undefined when it is not written as this product does it: then it is to be read as JSON. */
export function readInstanceText(bytes: Buffer): InstanceRecord | undefined {
  const text = bytes.toString()
  // Places in the text are places in the bytes.
  if (text.length !== bytes.length || !text.startsWith(begin)) return undefined
  const idEnd = text.indexOf(whatBegins, begin.length)
  const whatEnd = text.indexOf(whereBegins, idEnd)
  const whereEnd = text.lastIndexOf(tailBegins)
  if (idEnd < 0 || whatEnd < 0 || whereEnd < whatEnd) return undefined
  const end = tail.exec(text.slice(whereEnd))
  const what = end && whats.get(text.slice(idEnd + 2, whatEnd))
  const where = what && wheres.get(text.slice(whatEnd + 1, whereEnd))
  if (!where || !end) return undefined
  // Cut from the bytes: a slice of the text would keep all of it.
  const id = bytes.toString('latin1', begin.length, idEnd)
  if (!idSchema.Check({ id })) return undefined
  const createdAtAt = whereEnd + tailBegins.length
  const createdAt = bytes.toString('latin1', createdAtAt, createdAtAt + end[1]!.length)
  return recordOf(id, what, where, createdAt, Number(end[2]))
}

/** Written out twice: an object that gets a field later, or by spreading, is larger. */
function recordOf(id: string, what: What, where: Where, createdAt: string, decidedIn: number): InstanceRecord {
  const { component, version, owner, need, placement } = what
  const { epoch, primary, inSync, learners, generation } = where
  const schema = 1
  return owner === undefined
    ? {
        schema,
        id,
        component,
        version,
        need,
        placement,
        epoch,
        primary,
        inSync,
        learners,
        generation,
        createdAt,
        decidedIn,
      }
    : {
        schema,
        id,
        component,
        version,
        owner,
        need,
        placement,
        epoch,
        primary,
        inSync,
        learners,
        generation,
        createdAt,
        decidedIn,
      }
}
