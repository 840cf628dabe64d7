/**
 * A mothership as far as it keeps state, in a process of its own: real journals, real links. Its parent plays the
 * hypervisor (what is wanted comes as messages, reports go back) and the code of instances (changes and reads).
 */
import { writeSync } from 'node:fs'
import type { Configuration } from '../../src/cloud/replication/configuration.js'
import type { Json } from '../../src/cloud/replication/entry.js'
import { systemChance, systemClock } from '../../src/main/world.js'
import { RenderLinks } from '../../src/mothership/links.js'
import { CopyLinks } from '../../src/mothership/state/copy-links.js'
import { Journals } from '../../src/mothership/state/journals.js'
import { Keeper } from '../../src/mothership/state/keeper.js'
import { Updates } from '../../src/mothership/state/updates.js'
import { copiesPath, type WantedPeer } from '../../src/protocol/messages.js'
import type { TicketKey } from '../../src/protocol/ticket.js'

export interface KeptWanted {
  readonly peers: readonly WantedPeer[]
  readonly instance: string
  readonly since: number
  readonly configuration: Configuration | undefined
}

export type ToKept =
  | ({ readonly t: 'wanted' } & KeptWanted)
  | { readonly t: 'change'; readonly n: number; readonly id: string; readonly withinMs: number }
  | {
      readonly t: 'read'
      readonly n: number
      readonly staleMsMax: number
      readonly withinMs: number
      readonly seqMin: number
    }

export type FromKept =
  | { readonly t: 'up'; readonly port: number }
  | { readonly t: 'report'; readonly report: ReturnType<Keeper['report']>; readonly problem: string | undefined }
  | {
      readonly t: 'answer'
      readonly n: number
      readonly seq?: number
      readonly reply?: number
      readonly failed?: string
    }
  | { readonly t: 'document'; readonly n: number; readonly log?: readonly string[] }

const { id, directory, key } = JSON.parse(process.argv[2] ?? '{}') as { id: string; directory: string; key: TicketKey }
const say = (message: FromKept): void => void process.send?.(message)
const note = (fields: object, message: string): void =>
  void writeSync(2, `${id} ${message} ${JSON.stringify(fields)}\n`)
const log = { info: note, warn: note, error: note }
const clock = systemClock
const chance = systemChance
const keys = (): readonly TicketKey[] => [key]

let instance = ''
let updates: Updates | undefined
const journals = await Journals.start({ directory, clock, chance, log })
const links = new CopyLinks({
  ...{ self: id, clock, chance, log, keys },
  onLink: (mothership, up) => keeper.link(mothership, up),
  onCarried: (from, name, carried) => keeper.on(from, name, carried),
})
const keeper: Keeper = new Keeper({
  self: id,
  clock,
  open: (...args) => journals.open(...args),
  discard: (name, since) => journals.discard(name, since),
  send: (to, name, carried) => links.send(to, name, carried),
  changed: name => say({ t: 'report', report: keeper.report(name), problem: keeper.problem(name) }),
})
const nothing = async () => ({ t: 'failed', r: 0, status: 500, reason: '' }) as const
const listener = new RenderLinks({
  ...{ id, clock, log, keys, onRender: nothing, onCall: nothing, onTraffic: () => undefined },
  upgrades: { [copiesPath]: (...request) => links.accept(...request) },
})

function apply({ peers, instance: name, since, configuration }: KeptWanted): void {
  instance = name
  updates ??= new Updates({
    propose: (base, body, withinMs) => keeper.propose(name, base, body, withinMs),
    nowMs: clock.nowMs,
  })
  links.apply(peers)
  keeper.apply(new Map(configuration ? [[name, { since, configuration }]] : []))
}

const added = (change: string) => (draft: Json) => {
  const state = draft as unknown as { log?: string[] }
  state.log ??= []
  return state.log.push(change)
}

async function change({ n, id: change, withinMs }: Extract<ToKept, { t: 'change' }>): Promise<void> {
  try {
    const { seq, reply } = await updates!.update(change, added(change), withinMs)
    say({ t: 'answer', n, seq, reply: reply as number })
  } catch (error) {
    say({ t: 'answer', n, failed: (error as Error).message })
  }
}

async function read({ n, staleMsMax, withinMs, seqMin }: Extract<ToKept, { t: 'read' }>): Promise<void> {
  const found = await keeper.read(instance, staleMsMax, withinMs, seqMin)
  if ('kind' in found) return say({ t: 'document', n })
  say({ t: 'document', n, log: (found.document as { log?: readonly string[] }).log ?? [] })
}

process.on('message', (message: ToKept) => {
  if (message.t === 'wanted') apply(message)
  else if (message.t === 'change') void change(message)
  else void read(message)
})
process.on('disconnect', () => process.exit(0))
say({ t: 'up', port: await listener.listen({ host: '127.0.0.1', port: 0 }) })
