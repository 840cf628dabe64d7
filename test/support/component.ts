/** A component in a real process of its own, and what it answers. Ends with the test that started it. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { onTestFinished } from 'vitest'
import { ComponentProcess } from '../../src/mothership/component-process.js'
import { Confinement } from '../../src/mothership/confinement.js'
import type { ControlCall, Controlled, RenderCall, Rendered } from '../../src/mothership/ipc.js'
import { builtWorker } from './build.js'
import { waitUntil } from './etcd.js'
import { TestLog } from './logs.js'
import { testClock } from './plain-store.js'

export type Files = Readonly<Record<string, string>>

export interface RunningComponent {
  readonly process: ComponentProcess
  rendered(call?: Partial<RenderCall>): Promise<Rendered>
  /** The html of `index`. */
  show(call?: Partial<RenderCall>, context?: RenderCall['context']): Promise<string>
  control(name: string, call?: Partial<ControlCall>): Promise<Controlled & { readonly text: string }>
}

const deadlineMs = 8_000

export function unpackedAt(files: Files): string {
  const directory = mkdtempSync(join(tmpdir(), 'rain-component-'))
  onTestFinished(() => rmSync(directory, { recursive: true, force: true }))
  for (const [name, content] of Object.entries({ 'package.json': '{"type":"commonjs"}', ...files })) {
    mkdirSync(dirname(join(directory, name)), { recursive: true })
    writeFileSync(join(directory, name), content)
  }
  return directory
}

export async function running(files: Files): Promise<RunningComponent> {
  const directory = unpackedAt(files)
  const common = { clock: testClock, log: new TestLog() }
  const confinement = new Confinement({
    ...common,
    mothership: 'm1',
    dataDir: `${directory}-data`,
    workerPath: builtWorker,
  })
  confinement.open()
  const process = new ComponentProcess({
    ...common,
    name: 'news/1.0.0',
    component: 'news',
    version: '1.0.0',
    start: { directory, mothership: 'm1' },
    confinement,
    askedMiB: 64,
    onState: () => undefined,
  })
  onTestFinished(async () => {
    await process.stop()
    confinement.close()
    rmSync(`${directory}-data`, { recursive: true, force: true })
  })
  await waitUntil('it is ready', () => {
    if (process.state.kind === 'failed') throw new Error(process.state.reason)
    return process.state.kind === 'ready'
  })
  const rendered = async (call: Partial<RenderCall> = {}): Promise<Rendered> => {
    const result = await process.render({ instance: 'news.1', view: 'index', context: {}, ...call }, deadlineMs)
    if (result.kind === 'failed') throw new Error(`${result.status}: ${result.reason}`)
    return result.result
  }
  return {
    process,
    rendered,
    show: async (call, context = {}) => (await rendered({ context, ...call })).html,
    control: async (name, call = {}) => {
      const result = await process.control({ instance: 'news.1', name, verb: 'GET', ...call }, deadlineMs)
      if (result.kind === 'failed') throw new Error(`${result.status}: ${result.reason}`)
      return { ...result.result, text: Buffer.from(result.result.body).toString() }
    },
  }
}
