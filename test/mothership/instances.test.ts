/** The bookkeeping of what runs here, with runners that a test moves from state to state. */
import { beforeEach, describe, expect, it } from 'vitest'
import type { ObservedItem } from '../../src/hypervisor/ports.js'
import type { CallResult, ControlResult, ProcessState } from '../../src/mothership/component-process.js'
import { Instances, type Runner } from '../../src/mothership/instances.js'
import type { WantedInstance } from '../../src/protocol/messages.js'
import { waitUntil } from '../support/etcd.js'

class TestRunner implements Runner {
  state: ProcessState = { kind: 'starting' }
  readonly restarts = 0
  readonly pid = undefined
  stopped = false
  answered: Promise<void> = Promise.resolve()

  constructor(
    readonly wanted: WantedInstance,
    private readonly onState: () => void,
  ) {}

  asks(): void {}

  becomes(state: ProcessState): void {
    this.state = state
    this.onState()
  }

  open(): ReturnType<Runner['open']> {
    return Promise.resolve({ kind: 'failed', status: 500, reason: 'no sockets in this test' })
  }

  async render(): Promise<CallResult> {
    await this.answered
    return { kind: 'failed', status: 500, reason: `generation ${this.wanted.generation}` }
  }

  control(): Promise<ControlResult> {
    return this.render() as Promise<ControlResult>
  }

  async stop(): Promise<void> {
    this.stopped = true
  }
}

const digest = (letter: string): string => `sha256:${letter.repeat(64)}`
const wanted = (more: Partial<WantedInstance> = {}): WantedInstance => ({
  component: 'news',
  version: '1.0.0',
  digest: digest('a'),
  size: 1,
  role: 'primary',
  epoch: 1,
  generation: 0,
  isolation: 'shared',
  need: { cpu: 1, ram: 1, bandwidth: 1 },
  ...more,
})

const ended = (instance: string): ObservedItem => ({
  ...{ instance, epoch: 1, generation: 0, phase: 'stopping', ended: true },
})

let runners: TestRunner[]
let observed: ObservedItem[]
let fetched: Promise<unknown>
let instances: Instances

beforeEach(() => {
  runners = []
  observed = []
  fetched = Promise.resolve()
  instances = new Instances({
    start: async (each, _ramMiB, _name, onState) => {
      await fetched
      const runner = new TestRunner(each, onState)
      runners.push(runner)
      return runner
    },
    observed: items => void observed.push(...items),
  })
})

const want = (each: Readonly<Record<string, WantedInstance>>): void => instances.apply(new Map(Object.entries(each)))
const started = (count: number): Promise<void> => waitUntil(`${count} started`, () => runners.length === count)
const reasonOf = async (instance: string): Promise<unknown> => {
  const result = await instances.render({ instance, view: 'index', context: {} }, 1_000)
  return result.kind === 'failed' ? result.reason : undefined
}

describe('the instances of a mothership', () => {
  it('share a process for a version, and tell only what changed', async () => {
    want({ 'news.1': wanted(), 'news.2': wanted({ epoch: 3 }) })
    await started(1)
    runners[0]!.becomes({ kind: 'ready' })
    runners[0]!.becomes({ kind: 'ready' })
    want({ 'news.1': wanted(), 'news.2': wanted({ epoch: 3 }) })

    expect(runners).toHaveLength(1)
    expect(observed).toEqual([
      { instance: 'news.1', epoch: 1, generation: 0, phase: 'starting' },
      { instance: 'news.2', epoch: 3, generation: 0, phase: 'starting' },
      { instance: 'news.1', epoch: 1, generation: 0, phase: 'running' },
      { instance: 'news.2', epoch: 3, generation: 0, phase: 'running' },
    ])
    expect(instances.report()).toEqual(observed.slice(2))
  })

  it('tell anew of one that was stopped and started under the same id before they heard of the stop', async () => {
    want({ 'news.1': wanted({ since: 7 }) })
    await started(1)
    runners[0]!.becomes({ kind: 'ready' })
    observed.length = 0
    want({ 'news.1': wanted({ since: 7 }) })
    expect(observed).toEqual([])

    want({ 'news.1': wanted({ since: 9 }) })
    expect(observed).toEqual([{ instance: 'news.1', epoch: 1, generation: 0, phase: 'running' }])
  })

  it('end a process that was not wanted any more before it had started', async () => {
    let arrive!: () => void
    fetched = new Promise<void>(resolve => (arrive = resolve))
    want({ 'news.1': wanted() })
    want({})
    arrive()
    await started(1)
    await waitUntil('it is stopped', () => runners[0]!.stopped)

    expect([...instances.processes()]).toEqual([])
    expect(instances.report()).toEqual([ended('news.1')])
  })

  it('end when their calls are over and their process is: then, and in the next session, that is said', async () => {
    want({ 'news.1': wanted(), 'news.2': wanted() })
    await started(1)
    runners[0]!.becomes({ kind: 'ready' })
    let answer!: () => void
    runners[0]!.answered = new Promise<void>(resolve => (answer = resolve))
    const call = instances.render({ instance: 'news.1', view: 'index', context: {} }, 1_000)
    observed.length = 0
    want({ 'news.2': wanted() })
    // Another one is not waited for, and still served by the process that they share.
    want({})
    await waitUntil('the other one has ended', () => observed.length > 0)
    expect([observed, runners[0]!.stopped]).toEqual([[ended('news.2')], true])
    answer()
    expect(await call).toMatchObject({ reason: 'generation 0' })
    await waitUntil('it has ended, too', () => observed.length > 1)
    expect(instances.report()).toEqual([ended('news.2'), ended('news.1')])

    want({ 'news.1': wanted({ since: 7 }) })
    expect(instances.report().map(each => each.phase)).toEqual(['starting', 'stopping'])
  })

  it('are served by the old generation until the new one is ready', async () => {
    want({ 'news.1': wanted() })
    await started(1)
    runners[0]!.becomes({ kind: 'ready' })
    want({ 'news.1': wanted({ generation: 1 }) })
    await started(2)
    expect([await reasonOf('news.1'), runners[0]!.stopped]).toEqual(['generation 0', false])
    runners[1]!.becomes({ kind: 'ready' })

    expect([await reasonOf('news.1'), runners[0]!.stopped, runners[1]!.stopped]).toEqual(['generation 1', true, false])
    expect(observed.at(-1)).toEqual({ instance: 'news.1', epoch: 1, generation: 1, phase: 'running' })
  })

  it('skip a generation that was never ready', async () => {
    want({ 'news.1': wanted() })
    await started(1)
    runners[0]!.becomes({ kind: 'ready' })
    want({ 'news.1': wanted({ generation: 1 }) })
    await started(2)
    want({ 'news.1': wanted({ generation: 2 }) })
    await started(3)

    expect(runners.map(each => each.stopped)).toEqual([false, true, false])
    expect(await reasonOf('news.1')).toBe('generation 0')
  })

  it('get a process of their own by a refresh, also where one of that generation runs already', async () => {
    want({ 'news.1': wanted({ generation: 1, refresh: 'a' }), 'news.2': wanted() })
    await started(2)
    for (const each of runners) each.becomes({ kind: 'ready' })
    want({ 'news.1': wanted({ generation: 1, refresh: 'a' }), 'news.2': wanted({ generation: 1, refresh: 'b' }) })
    await started(3)
    expect(runners.map(each => each.stopped)).toEqual([false, false, false])
    runners[2]!.becomes({ kind: 'ready' })
    expect(runners.map(each => each.stopped)).toEqual([false, true, false])
  })

  it('keep the process that serves when a refresh is taken back, and say so', async () => {
    want({ 'news.1': wanted() })
    await started(1)
    runners[0]!.becomes({ kind: 'ready' })
    want({ 'news.1': wanted({ generation: 1, refresh: 'a' }) })
    await started(2)
    runners[1]!.becomes({ kind: 'failed', reason: 'worse' })
    const item = { instance: 'news.1', epoch: 1, phase: 'running' }
    expect(observed.at(-1)).toEqual({ ...item, generation: 0, tried: 1, reason: 'worse' })
    want({ 'news.1': wanted({ generation: 2, refresh: '0' }) })

    expect(observed.at(-1)).toEqual({ ...item, generation: 2 })
    expect(runners.map(each => each.stopped)).toEqual([false, true])
    expect(await reasonOf('news.1')).toBe('generation 0')
  })

  it('fail with the reason, and start again when that is tried and works', async () => {
    fetched = Promise.reject(new Error('no replica answers'))
    want({ 'news.1': wanted() })
    await waitUntil('it has failed', () => observed.at(-1)?.phase === 'failed')
    expect(observed.at(-1)).toMatchObject({ reason: 'no replica answers' })
    fetched = Promise.resolve()
    instances.retry()
    await started(1)
    runners[0]!.becomes({ kind: 'ready' })

    expect(observed.at(-1)).toEqual({ instance: 'news.1', epoch: 1, generation: 0, phase: 'running' })
    instances.retry()
    expect(runners).toHaveLength(1)
  })

  it('need the packages of all that runs or starts, of an old generation too', async () => {
    want({ 'news.1': wanted() })
    await started(1)
    runners[0]!.becomes({ kind: 'ready' })
    want({ 'news.1': wanted({ generation: 1, digest: digest('b') }) })
    await started(2)
    runners[1]!.becomes({ kind: 'failed', reason: 'worse' })
    expect(instances.digests()).toEqual(new Set([digest('a'), digest('b')]))

    want({ 'news.1': wanted({ generation: 2, digest: digest('c') }) })
    await started(3)
    runners[2]!.becomes({ kind: 'ready' })
    expect(instances.digests()).toEqual(new Set([digest('c')]))
  })

  it('end all together', async () => {
    want({ 'news.1': wanted(), 'news.2': wanted({ isolation: 'exclusive' }) })
    await started(2)
    await instances.stop()

    expect(runners.map(each => each.stopped)).toEqual([true, true])
    expect(await reasonOf('news.1')).toBe('no instance news.1 here')
  })
})
