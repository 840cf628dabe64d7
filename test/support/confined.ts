/** Processes of components, started as a mothership starts them, of packages that a test writes. */
import { chmodSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { type CallResult, ComponentProcess } from '../../src/mothership/component-process.js'
import { Confinement, type ConfinementOptions } from '../../src/mothership/confinement.js'
import { builtWorker } from './build.js'
import { waitUntil } from './etcd.js'
import { TestLog } from './logs.js'
import { testClock } from './plain-store.js'

type Files = Readonly<Record<string, string>>

/** A view for each data function, which gets `answer(value)` and the context; its html is what it answers, as JSON. */
export function packageOf(functions: Readonly<Record<string, string>>): Files {
  const views = Object.keys(functions)
  const code = Object.entries(functions).map(
    ([view, body]) =>
      `exports.${view} = (environment, callback, context) => {
        const answer = value => callback(null, { text: JSON.stringify(value) })
        ${body}
      }`,
  )
  return {
    'package.json': '{"type":"commonjs"}',
    'meta.json': JSON.stringify({
      id: 'news',
      version: '1.0',
      views: Object.fromEntries(views.map(view => [view, {}])),
    }),
    ...Object.fromEntries(views.map(view => [`client/templates/${view}.html`, '{{{text}}}'])),
    'server/data.js': code.join('\n'),
  }
}

export class TestComponents {
  readonly root = mkdtempSync(join(tmpdir(), 'rain-isolation-'))
  readonly log = new TestLog()
  readonly confinement: Confinement
  readonly #running: ComponentProcess[] = []
  #packages = 0

  constructor(more: Partial<ConfinementOptions> = {}) {
    // Components may run as other users.
    chmodSync(this.root, 0o711)
    this.confinement = new Confinement({
      mothership: 'm1',
      dataDir: this.root,
      workerPath: builtWorker,
      clock: testClock,
      log: this.log,
      ...more,
    })
    this.confinement.open()
  }

  /** Ready. */
  async start(functions: Readonly<Record<string, string>>, askedMiB = 32): Promise<ComponentProcess> {
    const directory = join(this.root, `package-${this.#packages++}`)
    for (const [name, content] of Object.entries(packageOf(functions))) {
      mkdirSync(dirname(join(directory, name)), { recursive: true })
      writeFileSync(join(directory, name), content)
    }
    const component = new ComponentProcess({
      name: 'news/1.0.0#0',
      component: 'news',
      version: '1.0.0',
      start: { directory, mothership: 'm1' },
      confinement: this.confinement,
      askedMiB,
      clock: testClock,
      log: this.log,
      onState: () => undefined,
    })
    this.#running.push(component)
    await waitUntil('the process is ready', () => component.state.kind === 'ready')
    return component
  }

  /** With `root`, in which everything is. */
  async stop(): Promise<void> {
    await Promise.all(this.#running.map(each => each.stop()))
    this.confinement.close()
    rmSync(this.root, { recursive: true, force: true })
  }
}

export const rendering = (component: ComponentProcess, view: string, context: object = {}): Promise<CallResult> =>
  component.render({ instance: 'news.1', view, context: { ...context } }, 15_000)

/** What the view answered; throws when it failed. */
export async function answerOf<T>(component: ComponentProcess, view: string, context: object = {}): Promise<T> {
  const result = await rendering(component, view, context)
  if (result.kind === 'failed') throw new Error(`${result.status}: ${result.reason}`)
  return JSON.parse(result.result.html) as T
}

/** Not even as a zombie that nobody has read yet. */
export function isAlive(pid: number): boolean {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3) !== 'Z'
  } catch {
    return false
  }
}
