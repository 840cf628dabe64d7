/**
 * One instance that keeps state, on motherships that are processes of their own, and a leader in this one that repairs
 * it as the product's does: by the same decisions, from what the copies report. Users change it anywhere and send a
 * change again, elsewhere, when no answer comes.
 */
import { type ChildProcess, fork } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { repairKept } from '../../src/cloud/decide/kept.js'
import { MemoryMap } from '../../src/cloud/map.js'
import { Engine } from '../../src/cloud/placement/engine.js'
import { type InstanceRecord, put, remove } from '../../src/cloud/records.js'
import { configurationOf } from '../../src/cloud/replication/configuration.js'
import { bundle } from './bundle.js'
import { apply } from './clouds.js'
import { waitUntil } from './etcd.js'
import type { FromKept, KeptWanted, ToKept } from './kept-mothership.js'
import { aComponent, aMothership, anInstance, session } from './records.js'
import { aKey } from './tickets.js'

export const instance = 'shop.1'
const since = 7
const withinMs = 3_000
const attemptsMax = 30
/** What happened once takes so many changes of the configuration at most. */
const stepsMax = 10

export interface Change {
  readonly id: string
  readonly begunMs: number
  endedMs: number
  /** Its number in the log, as it was acknowledged. */
  reply: number | undefined
}

interface Running {
  readonly child: ChildProcess
  port: number
  readonly asked: Map<number, (answer: FromKept) => void>
}

export class KeptCloud {
  readonly changes: Change[] = []
  readonly map = new MemoryMap()
  /** What the processes said. */
  said = ''
  readonly #running = new Map<string, Running>()
  readonly #goneAtMs = new Map<string, number>()
  readonly #key = aKey()
  #asks = 0
  #using = false
  #closed = false
  #users: Promise<void>[] = []

  private constructor(
    readonly ids: readonly string[],
    readonly directory: string,
    private readonly program: string,
  ) {}

  /** `copies`: how many are wanted; they are in sync when it resolves. */
  static async start(ids: readonly [string, ...string[]], copies = ids.length): Promise<KeptCloud> {
    const directory = mkdtempSync(join(tmpdir(), 'rain-kept-'))
    const cloud = new KeptCloud(ids, directory, await bundle('test/support/kept-mothership.ts', directory))
    const [first, ...others] = ids
    const record = anInstance(instance, [first], { learners: others.slice(0, copies - 1), placement: { copies } })
    apply(cloud.map, [
      put('components', 'shop/1.0.0', aComponent('shop', '1.0.0', { state: 'kept' })),
      ...ids.map(id => put('motherships', id, aMothership(id))),
      put('instances', instance, { ...record, journals: {} }),
    ])
    await Promise.all(ids.map(id => cloud.begin(id)))
    await cloud.inSync(copies)
    return cloud
  }

  get record(): InstanceRecord {
    return this.map.get('instances', instance)!.value
  }

  get up(): readonly string[] {
    return [...this.#running.keys()]
  }

  async begin(id: string): Promise<void> {
    const settings = {
      id,
      directory: join(this.directory, id),
      key: { id: this.#key.id, publicKey: this.#key.publicKey },
    }
    const child = fork(this.program, [JSON.stringify(settings)], { stdio: ['ignore', 'inherit', 'pipe', 'ipc'] })
    const running: Running = { child, port: 0, asked: new Map() }
    child.stderr?.on('data', text => {
      this.said += text
    })
    child.on('message', message => this.#on(id, running, message as FromKept))
    this.#running.set(id, running)
    await waitUntil(`${id} is up`, () => {
      if (child.exitCode !== null) throw new Error(`${id} ended: ${this.said}`)
      return running.port > 0
    })
    this.#goneAtMs.delete(id)
    apply(this.map, [session('mothership', id)])
    this.#tellAll()
    this.#repair()
  }

  async kill(id: string): Promise<void> {
    const running = this.#running.get(id)!
    this.#running.delete(id)
    const ended = once(running.child, 'exit')
    running.child.kill('SIGKILL')
    this.#goneAtMs.set(id, performance.now())
    apply(this.map, [remove('sessions', `mothership/${id}`)])
    await ended
    for (const answer of running.asked.values()) answer({ t: 'answer', n: 0, failed: 'killed' })
    this.#repair()
  }

  signal(id: string, signal: NodeJS.Signals): void {
    this.#running.get(id)?.child.kill(signal)
  }

  /** The configuration is another one, one epoch later. */
  reconfigure(change: Partial<InstanceRecord>): void {
    apply(this.map, [put('instances', instance, { ...this.record, ...change, epoch: this.record.epoch + 1 })])
    this.#tellAll()
    this.#repair()
  }

  async inSync(copies: number): Promise<void> {
    await waitUntil(
      `${copies} copies are in sync`,
      () => this.record.inSync.length === copies && this.record.inSync.every(id => this.#running.has(id)),
    ).catch(error => {
      throw new Error(`${error.message}: ${JSON.stringify(this.record)}\n${this.said.slice(-3_000)}`)
    })
  }

  /** So many users change it until `stop`, each one change at a time, with a pause after it. */
  use(users: number, pauseMs = 0): void {
    this.#using = true
    this.#users = Array.from({ length: users }, (_, user) => this.#user(user, pauseMs))
  }

  async stop(): Promise<void> {
    this.#using = false
    await Promise.all(this.#users)
  }

  get acknowledged(): number {
    return this.changes.filter(each => each.reply !== undefined).length
  }

  async until(count: number): Promise<void> {
    const all = this.acknowledged + count
    await waitUntil(`${all} changes are acknowledged`, () => this.acknowledged >= all)
  }

  async change(id: string, at: () => string): Promise<number | undefined> {
    const change: Change = { id, begunMs: performance.now(), endedMs: Number.POSITIVE_INFINITY, reply: undefined }
    this.changes.push(change)
    for (let attempt = 0; attempt < attemptsMax && change.reply === undefined && !this.#closed; attempt++) {
      const answer = await this.#ask(at(), n => ({ t: 'change', n, id, withinMs }))
      if (answer?.t !== 'answer' || answer.reply === undefined) {
        await new Promise(resolve => setTimeout(resolve, 20))
        continue
      }
      change.reply = answer.reply
      change.endedMs = performance.now()
    }
    return change.reply
  }

  /** Undefined when nobody can tell. */
  async read(at: string, staleMsMax = 0, seqMin = 0): Promise<readonly string[] | undefined> {
    const answer = await this.#ask(at, n => ({ t: 'read', n, staleMsMax, withinMs, seqMin }))
    return answer?.t === 'document' ? answer.log : undefined
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.all(this.up.map(id => this.kill(id)))
    await this.stop()
    rmSync(this.directory, { recursive: true, force: true })
  }

  async #user(user: number, pauseMs: number): Promise<void> {
    for (let number = 0; this.#using; number++) {
      let turn = user
      if (pauseMs > 0) await new Promise(resolve => setTimeout(resolve, pauseMs))
      await this.change(`u${user}.${number}`, () => this.up[turn++ % this.up.length] ?? '')
    }
  }

  async #ask(id: string, question: (n: number) => ToKept): Promise<FromKept | undefined> {
    const running = this.#running.get(id)
    if (!running) return undefined
    const n = ++this.#asks
    return new Promise(resolve => {
      running.asked.set(n, answer => {
        running.asked.delete(n)
        resolve(answer)
      })
      running.child.send(question(n))
    })
  }

  #on(id: string, running: Running, message: FromKept): void {
    if (message.t === 'up') running.port = message.port
    else if (message.t !== 'report') running.asked.get(message.n)?.(message)
    else if (message.report && this.#running.get(id) === running) {
      const { epoch, copy } = message.report
      const own = this.map.get('sessions', `mothership/${id}`)?.modified ?? 0
      const value = { schema: 1, session: own, epoch, generation: 0, phase: 'running', since: at, copy } as const
      apply(this.map, [put('observed', `${id}/${instance}`, value)])
      this.#repair()
    }
  }

  #repair(): void {
    const engine = new Engine(this.map, () => undefined)
    for (let steps = 0; ; steps++) {
      if (steps > stepsMax) throw new Error(`the leader never has done: ${JSON.stringify(this.record)}`)
      const step = repairKept(this.map, this.record, {
        goneForMs: id => (this.#running.has(id) ? undefined : performance.now() - (this.#goneAtMs.get(id) ?? 0)),
        place: (over, question) => engine.place(over, question, { nowMs: 0, at }),
        at,
      })
      if (!step) return
      apply(this.map, step.changes)
      this.#tellAll()
    }
  }

  #tellAll(): void {
    for (const [id, { child }] of this.#running) child.send({ t: 'wanted', ...this.#wantedBy(id) })
  }

  #wantedBy(id: string): KeptWanted {
    const { inSync, learners } = this.record
    const members = [...inSync, ...learners]
    const here = members.includes(id)
    const others = here ? members.filter(each => each !== id && (this.#running.get(each)?.port ?? 0) > 0) : []
    return {
      instance,
      since,
      configuration: here ? configurationOf(this.record) : undefined,
      peers: others.map(mothership => ({
        mothership,
        address: `ws://127.0.0.1:${this.#running.get(mothership)!.port}`,
        ticket: this.#key.ticket(mothership, { who: `mothership/${id}` }),
      })),
    }
  }
}

const at = '2026-01-01T00:00:00.000Z'
