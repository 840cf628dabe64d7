/** HAProxy's runtime API on its unix socket: one connection for each batch of commands. */
import { connect } from 'node:net'

const answerWithinMs = 2_000
const batchMax = 100

/** Throws when a command was refused: what HAProxy says to one that it did is an empty line. */
export async function runCommands(socket: string, commands: readonly string[]): Promise<void> {
  for (let start = 0; start < commands.length; start += batchMax) {
    const batch = commands.slice(start, start + batchMax)
    const said = await ask(socket, batch.join(';'))
    const refused = said
      .split('\n')
      .map(line => line.trim())
      .filter(line => line !== '' && !harmless.test(line))
    if (refused.length > 0) throw new Error(`HAProxy refused: ${refused[0]}`)
  }
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
}

/** Servers in use, from `show stat` (CSV with a header line). */
export function parseStats(csv: string): ServerStat[] {
  const [head = '', ...lines] = csv.split('\n')
  const names = head.replace(/^#\s*/, '').split(',')
  const at = (name: string): number => names.indexOf(name)
  const [px, sv, status, scur, stot] = [at('pxname'), at('svname'), at('status'), at('scur'), at('stot')]
  return lines.flatMap(line => {
    const cells = line.split(',')
    const server = cells[sv]
    if (!server || server === 'FRONTEND' || server === 'BACKEND' || cells[status]?.startsWith('MAINT')) return []
    const up = cells[status]?.startsWith('UP') || cells[status]?.startsWith('DRAIN') || false
    return [{ backend: cells[px] ?? '', server, up, sessions: Number(cells[scur]), requests: Number(cells[stot]) }]
  })
}
