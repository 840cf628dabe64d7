/** The rules of kept state, each broken where a copy meets its disk, the other copies or its configuration. */
import type { JournalRecord } from '../../src/cloud/replication/messages.js'
import type { KeeperPorts } from '../../src/mothership/state/keeper.js'
import type { FaultWeights } from './faults.js'
import type { BrokenRule } from './rules.js'

/** Each journal that is opened, changed. */
const withJournal =
  (change: (journal: Awaited<ReturnType<KeeperPorts['open']>>, self: string) => typeof journal) =>
  (ports: KeeperPorts): KeeperPorts => ({
    ...ports,
    open: async (...args) => change(await ports.open(...args), ports.self),
  })

/** Every message between copies, changed. */
const withMessages =
  (change: NonNullable<Parameters<KeeperPorts['send']>[2]> extends infer C ? (carried: C) => C : never) =>
  (ports: KeeperPorts): KeeperPorts => ({
    ...ports,
    send: (to, instance, carried) => ports.send(to, instance, change(carried)),
  })

const without = (...kinds: JournalRecord['k'][]) =>
  withJournal(journal => ({
    ...journal,
    write: (records, done) =>
      journal.write(
        records.filter(({ k }) => !kinds.includes(k)),
        done,
      ),
  }))

/** Motherships that come and go, and see each other only now and then. */
const comings: FaultWeights = {
  'mothership crash': 12,
  'mothership crash without a word': 4,
  'mothership crash of all': 4,
  'mothership pause': 4,
  'mothership cut from replicas': 6,
  'cut between motherships': 4,
  'cut between motherships one way': 4,
  'copy link reset': 2,
}

export const brokenCopyRules: Readonly<Record<string, BrokenRule>> = {
  'a change counts before it is durable': {
    broken: {
      copies: {
        ports: withJournal(journal => ({
          ...journal,
          write: (records, done) => {
            journal.write(records, () => undefined)
            done()
          },
        })),
      },
    },
    says: /^I1: /,
    weights: { ...comings, 'disk slow': 10 },
  },
  'a copy says that it has what it has not': {
    broken: {
      copies: {
        ports: withMessages(carried =>
          carried.k === 'copy' && carried.message.k === 'ack'
            ? { ...carried, message: { ...carried.message, seq: carried.message.seq + 8 } }
            : carried,
        ),
      },
    },
    says: /^I[1-4]: /,
    weights: comings,
  },
  'a journal that was begun anew goes under the old name': {
    broken: {
      copies: {
        ports: withJournal((journal, self) => ({
          ...journal,
          recovered: { ...journal.recovered, journal: `journal of ${self}` },
        })),
      },
    },
    says: /^I[1-4]: /,
    weights: { ...comings, 'journal wiped': 10, 'journal cut short': 10 },
  },
  'what is cut off stays in the journal': {
    broken: { copies: { ports: without('cut') } },
    // A journal whose entries do not follow each other cannot be read again.
    says: /^(I[1-4]|journal): /,
    weights: { ...comings, 'mothership isolation': 12, 'mothership crash of all': 6 },
    forMs: 12_000,
  },
  'an epoch is not written down': {
    broken: { copies: { ports: without('epoch') } },
    says: /^rule 2: /,
    weights: comings,
  },
  'a change that is sent again is another one': {
    broken: {
      copies: {
        body: body => {
          const change = JSON.parse(body) as { id: string }
          return JSON.stringify({ ...change, id: `${change.id} ${(again++).toString()}` })
        },
      },
    },
    says: /^(exactly once|I[1-4]): /,
    weights: comings,
  },
  'a change counts before the other copies have it': {
    broken: {
      copies: {
        pretend: carried => {
          if (carried.k !== 'copy' || carried.message.k !== 'append') return undefined
          const { epoch, after, entries } = carried.message
          return { k: 'copy', message: { k: 'ack', epoch, seq: after.seq + entries.length } }
        },
      },
    },
    says: /^I[1-4]: /,
    weights: comings,
  },
  'a primary confirms what is read without hearing the others': {
    broken: {
      copies: {
        pretend: carried => {
          if (carried.k !== 'copy' || carried.message.k !== 'beacon') return undefined
          const { epoch, round } = carried.message
          return { k: 'copy', message: { k: 'beaten', epoch, round } }
        },
      },
    },
    says: /^I[14]: /,
    weights: { 'mothership cut from replicas': 10, 'mothership pause': 2 },
  },
}

let again = 0
