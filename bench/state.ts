/**
 * How long a change of kept state takes until it is acknowledged, and how many a second a pair of motherships makes: two
 * processes with journals on one disk and a link on loopback, one copy in sync beside the primary. Beside it the floor:
 * a frame over a bare websocket, written at the other side with `fdatasync`, and back; and the same written at both
 * sides at the same time, which on one disk is nearer to what has to be done.
 *
 * Checked before anything is believed: both copies have as many changes as were acknowledged, and the same document.
 *
 * Not measured: the channel between a mothership and the process of the code, a network between, two disks (both
 * journals and the floor share one), many instances.
 *
 * `npm run bench -- state [--rounds=5] [--ms=2000]`
 */
import { type ChildProcess, fork } from 'node:child_process'
import { generateKeyPairSync } from 'node:crypto'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { WantedInstance } from '../src/protocol/messages.js'
import { signTicket } from '../src/protocol/ticket.js'
import type { EchoQuestion } from './floors/written-echo.js'
import { bar, finish, type Measured, printTable, rounds, spreadOf } from './harness.js'
import type { FromMothership, ToMothership } from './state/mothership.js'

const option = (name: string): string | undefined =>
  process.argv.find(each => each.startsWith(`--${name}=`))?.slice(name.length + 3)

const roundsCount = Number(option('rounds') ?? 5)
const ms = Number(option('ms') ?? 2_000)
const outstanding = 64
/** Of the text that a change puts down: with what is around it a record of about 400 in the journal. */
const bytes = 150
const recordBytes = 400
const instance = 'shop.1'

const directory = mkdtempSync(join(tmpdir(), 'rain-bench-'))
const { publicKey, privateKey } = generateKeyPairSync('ed25519')
const publicPem = String(publicKey.export({ type: 'spki', format: 'pem' }))
const key = { id: 'k1', privateKey: String(privateKey.export({ type: 'pkcs8', format: 'pem' })) }
const ticket = signTicket(key, {
  who: 'mothership/a',
  toWhom: 'mothership/b',
  era: 1,
  notBefore: 0,
  expires: Date.now() + 86_400_000,
})

/** A process that answers one question at a time. */
class Part {
  constructor(readonly child: ChildProcess) {}

  static start(program: string, ...args: readonly string[]): Part {
    return new Part(fork(fileURLToPath(new URL(program, import.meta.url)), args))
  }

  /** The next message that is meant. */
  hear<T>(is: (message: unknown) => boolean = () => true): Promise<T> {
    return new Promise((resolve, reject) => {
      const ended = (): void => reject(new Error('a process ended'))
      const listen = (message: unknown): void => {
        if (!is(message)) return
        this.child.off('message', listen)
        this.child.off('exit', ended)
        resolve(message as T)
      }
      this.child.on('message', listen)
      this.child.once('exit', ended)
    })
  }

  ask<T>(question: object, is?: (message: unknown) => boolean): Promise<T> {
    const answer = this.hear<T>(is)
    this.child.send(question)
    return answer
  }
}

const isA =
  (t: FromMothership['t']) =>
  (message: unknown): boolean =>
    (message as FromMothership).t === t

const mothership = (id: string): Part =>
  Part.start(
    './state/mothership.js',
    JSON.stringify({ id, dataDir: join(directory, id), key: { id: 'k1', publicKey: publicPem } }),
  )

type Kept = NonNullable<WantedInstance['kept']>

/** The configuration with both in sync, step by step as a leader makes it. */
async function pair(): Promise<{ a: Part; b: Part }> {
  const [a, b] = [mothership('a'), mothership('b')]
  const [, { port }] = await Promise.all([a.hear(isA('up')), b.hear<Extract<FromMothership, { t: 'up' }>>(isA('up'))])
  let epoch = 0
  const tell = (kept: Kept): void => {
    epoch++
    const wanted: WantedInstance = {
      ...{ component: 'shop', version: '1.0.0', digest: '', size: 0, role: 'primary', epoch, generation: 0, since: 1 },
      ...{ isolation: 'shared', need: { cpu: 1, ram: 1, bandwidth: 1 }, kept },
    }
    const peers = [{ mothership: 'b', address: `ws://127.0.0.1:${port}`, ticket }]
    a.child.send({ t: 'wanted', instance, wanted, peers } satisfies ToMothership)
    b.child.send({ t: 'wanted', instance, wanted: { ...wanted, role: 'backup' }, peers: [] } satisfies ToMothership)
  }
  const reportOf = (message: unknown) =>
    isA('report')(message) ? (message as Extract<FromMothership, { t: 'report' }>).report?.report?.copy : undefined
  const until = (asks: 'wants' | 'admit'): Promise<Extract<FromMothership, { t: 'report' }>> =>
    a.hear(message => reportOf(message)?.[asks] !== undefined)
  const alone = { primary: 'a', inSync: ['a'], learners: ['b'], inSyncMin: 1 }
  const registers = until('wants')
  tell({ ...alone, journals: {} })
  const journals = { a: reportOf(await registers)!.journal }
  const admits = until('admit')
  tell({ ...alone, journals })
  tell({ ...alone, inSync: ['a', 'b'], learners: [], journals: { ...journals, ...reportOf(await admits)!.admit } })
  return { a, b }
}

async function floor(): Promise<{ echo: Part; asker: Part }> {
  const echo = Part.start('./floors/written-echo.js', 'echo', directory)
  const asker = Part.start('./floors/written-echo.js', 'ask', directory, String(await echo.hear<number>()))
  await asker.hear()
  return { echo, asker }
}

const { echo, asker } = await floor()
const { a, b } = await pair()
let acknowledged = 0

const changes = async (many: number): Promise<Measured> => {
  const { measured } = await a.ask<Extract<FromMothership, { t: 'changed' }>>(
    { t: 'change', outstanding: many, ms, bytes } satisfies ToMothership,
    isA('changed'),
  )
  acknowledged += measured.answers
  return measured
}
const echoes = (many: number, both = false): Promise<Measured> =>
  asker.ask({ bytes: recordBytes, outstanding: many, ms, both } satisfies EchoQuestion)

/** Throws when a copy has not exactly what was acknowledged. */
async function compare(): Promise<void> {
  const seen = await Promise.all(
    [a, b].map(each => each.ask<Extract<FromMothership, { t: 'seen' }>>({ t: 'look' }, isA('seen'))),
  )
  const [first, second] = seen as [(typeof seen)[0], (typeof seen)[0]]
  if (first.count !== acknowledged || second.count !== acknowledged || first.digest !== second.digest) {
    throw new Error(`${acknowledged} changes were acknowledged, the copies have ${JSON.stringify(seen)}`)
  }
}

try {
  const measured = await rounds(roundsCount, {
    'echo, 1 outstanding': () => echoes(1),
    'echo, written at both sides, 1 outstanding': () => echoes(1, true),
    'change, 1 outstanding': () => changes(1),
    [`echo, ${outstanding} outstanding`]: () => echoes(outstanding),
    [`change, ${outstanding} outstanding`]: () => changes(outstanding),
  })
  await compare()
  printTable([...measured].map(([name, runs]) => ({ name, runs })))
  const [echoOne, bothOne, changeOne, echoMany, changeMany] = [...measured.values()] as [
    Measured[],
    Measured[],
    Measured[],
    Measured[],
    Measured[],
  ]
  const medianOf = (runs: readonly Measured[], of: (run: Measured) => number): number => spreadOf(runs.map(of)).median
  const p50 = (runs: readonly Measured[]): number => medianOf(runs, each => each.p50Ms)
  const over = (floors: readonly Measured[]): number =>
    spreadOf(changeOne.map((each, round) => each.p50Ms / floors[round]!.p50Ms)).median
  finish(
    'state',
    {
      outstanding,
      changeP50Ms: p50(changeOne),
      changeP99Ms: medianOf(changeOne, each => each.p99Ms),
      echoP50Ms: p50(echoOne),
      echoOfBothP50Ms: p50(bothOne),
      latencyToEchoOfBoth: over(bothOne),
      changesPerS: medianOf(changeMany, each => each.rate),
      changesP99Ms: medianOf(changeMany, each => each.p99Ms),
      echoesPerS: medianOf(echoMany, each => each.rate),
    },
    {
      changeP50Ms: bar(p50(changeOne), 2, 'atMost'),
      changesPerS: bar(
        medianOf(changeMany, each => each.rate),
        5_000,
        'atLeast',
      ),
      latencyToFloor: bar(over(echoOne), 2, 'atMost'),
    },
  )
} finally {
  for (const { child } of [a, b, echo, asker]) child.kill('SIGKILL')
  rmSync(directory, { recursive: true, force: true })
}
