/** HAProxy's runtime API on its unix socket: one connection for each batch of commands. */
import { connect } from 'node:net'
import type { MapIds } from './commands.js'
import { exactMapFile, prefixMapFile } from './maps.js'
import { addressText } from './shape.js'

const answerWithinMs = 2_000
const batchMax = 100
/** A line has to fit into one of HAProxy's buffers. */
const batchBytesMax = 16_000

/** Throws when a command was refused: what HAProxy says to one that it did is an empty line. */
export async function runCommands(socket: string, commands: readonly string[]): Promise<void> {
  for (const batch of batches(commands)) {
    const said = await ask(socket, batch.join(';'))
    const refused = said
      .split('\n')
      .map(line => line.trim())
      .filter(line => line !== '' && !harmless.test(line))
    if (refused.length > 0) throw new Error(`HAProxy refused: ${refused[0]}`)
  }
}

function* batches(commands: readonly string[]): Iterable<string[]> {
  let batch: string[] = []
  let bytes = 0
  for (const command of commands) {
    const size = Buffer.byteLength(command) + 1
    if (batch.length > 0 && (batch.length >= batchMax || bytes + size > batchBytesMax)) {
      yield batch
      batch = []
      bytes = 0
    }
    batch.push(command)
    bytes += size
  }
  if (batch.length > 0) yield batch
}

/** What `set server … addr` answers when it did it. */
const harmless = /^(IP changed|port changed|no need to change|.*changed from)/i

/** The whole answer to a line. Rejects when there is nobody, or no answer in time. */
export function ask(socket: string, line: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const connection = connect(socket)
    let said = ''
    connection.setEncoding('utf8')
    connection.setTimeout(answerWithinMs, () => connection.destroy(new Error('HAProxy does not answer')))
    connection.on('connect', () => connection.write(`${line}\n`))
    connection.on('data', (text: string) => {
      said += text
    })
    connection.on('end', () => resolve(said))
    connection.on('error', reject)
    connection.on('close', () => resolve(said))
  })
}

export interface ServerStat {
  readonly backend: string
  readonly server: string
  readonly up: boolean
  readonly sessions: number
  readonly requests: number
  readonly weight: number
}

/** Servers in use, from `show stat` (CSV with a header line). */
export function parseStats(csv: string): ServerStat[] {
  const [head = '', ...lines] = csv.split('\n')
  const names = head.replace(/^#\s*/, '').split(',')
  const at = (name: string): number => names.indexOf(name)
  const [px, sv, status, scur, stot, weight] = ['pxname', 'svname', 'status', 'scur', 'stot', 'weight'].map(at)
  return lines.flatMap(line => {
    const cells = line.split(',')
    const cell = (index = -1): string => cells[index] ?? ''
    const server = cell(sv)
    if (!server || server === 'FRONTEND' || server === 'BACKEND' || cell(status).startsWith('MAINT')) return []
    const up = /^(UP|DRAIN)/.test(cell(status))
    const [sessions, requests, share] = [scur, stot, weight].map(each => Number(cell(each)))
    return [{ backend: cell(px), server, up, sessions: sessions!, requests: requests!, weight: share! }]
  })
}

const running = '2'
const columns = ['be_name', 'srv_name', 'srv_addr', 'srv_port', 'srv_op_state']

/** Who is good by its checks, from `show servers state`. */
export function parseGood(text: string): { readonly slot: string; readonly address: string }[] {
  const rows = text.split('\n').map(line => line.split(' '))
  const head = rows.find(row => row[0] === '#')?.slice(1) ?? []
  const [backend, name, host, port, state] = columns.map(column => head.indexOf(column))
  const cell = (row: readonly string[], index = -1): string => row[index] ?? ''
  return rows
    .filter(row => row[0] !== '#' && cell(row, state) === running)
    .map(row => ({
      slot: `${cell(row, backend)}/${cell(row, name)}`,
      address: addressText(cell(row, host), Number(cell(row, port))),
    }))
}

/** Maps are named by numbers, so that no name of a directory has to be written as HAProxy reads it. */
export function parseMapIds(text: string): MapIds {
  const rows = [...text.matchAll(/^(-?\d+) \((.+)\) pattern loaded from file/gm)]
  const idOf = (file: string): string => {
    const id = rows.find(([, , path = '']) => path.endsWith(`/${file}`))?.[1]
    if (id === undefined) throw new Error(`HAProxy has no map ${file}`)
    return `#${id}`
  }
  return { exact: idOf(exactMapFile), prefix: idOf(prefixMapFile) }
}
