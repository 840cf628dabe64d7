/** A mothership as far as it keeps state, in a process of its own; with the code of one instance, which changes it. */
import type { Json } from '../../src/cloud/replication/entry.js'
import { documentDigest } from '../../src/cloud/replication/history.js'
import { systemChance as chance, systemClock as clock } from '../../src/main/world.js'
import { RenderLinks } from '../../src/mothership/links.js'
import { KeptState } from '../../src/mothership/state/kept-state.js'
import { Updates } from '../../src/mothership/state/updates.js'
import { copiesPath, type WantedInstance, type WantedPeer } from '../../src/protocol/messages.js'
import type { TicketKey } from '../../src/protocol/ticket.js'
import type { Measured } from '../harness.js'

export type ToMothership =
  | { readonly t: 'wanted'; readonly instance: string; readonly wanted: WantedInstance; readonly peers: WantedPeer[] }
  | { readonly t: 'change'; readonly outstanding: number; readonly ms: number; readonly bytes: number }
  | { readonly t: 'look' }

export type FromMothership =
  | { readonly t: 'up'; readonly port: number }
  | { readonly t: 'report'; readonly report: ReturnType<KeptState['copy']> }
  | { readonly t: 'changed'; readonly measured: Measured }
  | { readonly t: 'seen'; readonly seq: number; readonly count: number; readonly digest: string }

const { id, dataDir, key } = JSON.parse(process.argv[2]!) as { id: string; dataDir: string; key: TicketKey }
const say = (message: FromMothership): void => void process.send?.(message)
const warn = (fields: object, message: string): void => console.error(id, message, fields)
const log = { info() {}, warn, error: warn }
const keys = (): readonly TicketKey[] => [key]
const changed = (instance: string): void => say({ t: 'report', report: state.copy(instance) })
const state: KeptState = await KeptState.open({ self: id, dataDir, clock, chance, log, keys, changed })
const nothing = async () => ({ t: 'failed', r: 0, status: 500, reason: '' }) as const
const listener = new RenderLinks({
  ...{ id, clock, log, keys, onRender: nothing, onCall: nothing, onTraffic: () => undefined },
  upgrades: { [copiesPath]: (...request) => state.accept(...request) },
})

let instance = ''
let asked = 0
const updates = new Updates({
  propose: async (base, body) => {
    const outcome = await state.answer({ k: 'ask', n: ++asked, instance, what: { kind: 'propose', base, body } })
    if (outcome.kind === 'read') throw new Error('not asked for')
    return outcome
  },
  nowMs: clock.nowMs,
})

/** One slot of a hundred takes another text, and the changes are counted. */
const slots = 100
const withinMs = 5_000
let made = 0

async function change(bytes: number): Promise<void> {
  const number = ++made
  const text = `${number} `.padEnd(bytes, 'x')
  await updates.update(
    `${id}.${number}`,
    draft => {
      const document = draft as unknown as { count?: number; slots?: string[] }
      document.count = (document.count ?? 0) + 1
      document.slots ??= Array.from({ length: slots }, () => '')
      document.slots[number % slots] = text
      return document.count
    },
    withinMs,
  )
}

async function measure(outstanding: number, ms: number, bytes: number): Promise<Measured> {
  const times: number[] = []
  const fromMs = performance.now()
  const one = async (): Promise<void> => {
    for (let nowMs = performance.now(); nowMs - fromMs < ms; ) {
      const sentMs = nowMs
      await change(bytes)
      nowMs = performance.now()
      times.push(nowMs - sentMs)
    }
  }
  await Promise.all(Array.from({ length: outstanding }, one))
  const seconds = (performance.now() - fromMs) / 1000
  times.sort((a, b) => a - b)
  const at = (share: number): number => times[Math.floor(times.length * share)] ?? Number.NaN
  return { rate: times.length / seconds, answers: times.length, p50Ms: at(0.5), p99Ms: at(0.99) }
}

async function look(): Promise<FromMothership> {
  const found = await state.answer({ k: 'ask', n: ++asked, instance, what: { kind: 'read', staleMsMax: 0 } })
  if (found.kind !== 'read') throw new Error(`nothing to be read: ${JSON.stringify(found)}`)
  const { count = 0 } = found.document as { readonly count?: number }
  return { t: 'seen', seq: found.seq, count, digest: documentDigest(found.document as Json) }
}

process.on('message', async (message: ToMothership) => {
  if (message.t === 'wanted') {
    instance = message.instance
    state.apply(new Map([[instance, message.wanted]]), message.peers)
  } else if (message.t === 'change') {
    say({ t: 'changed', measured: await measure(message.outstanding, message.ms, message.bytes) })
  } else say(await look())
})
process.once('disconnect', () => process.exit())
say({ t: 'up', port: await listener.listen({ host: '127.0.0.1', port: 0 }) })
