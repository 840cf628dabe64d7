/**
 * The process that runs a component version: started by a mothership with a clean environment, ends with its channel.
 * A component may crash it, stall it or call `process.exit`; the mothership deals with all of these from outside.
 */
import type { FromWorker, ToWorker, WorkerStart } from './ipc.js'
import { Renderer, RenderFailure } from './renderer.js'

const say = (message: FromWorker): void => {
  if (process.connected) process.send?.(message)
}

/** Whatever a component throws: not all of it can be made a text. */
function reasonOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error).slice(0, 1000)
  } catch {
    return 'it threw something that is no error'
  }
}

async function render(renderer: Renderer, { n, call }: Extract<ToWorker, { k: 'render' }>): Promise<void> {
  try {
    say({ k: 'rendered', n, result: await renderer.render(call) })
  } catch (error) {
    say({ k: 'failed', n, status: error instanceof RenderFailure ? error.status : 500, reason: reasonOf(error) })
  }
}

async function control(renderer: Renderer, { n, call }: Extract<ToWorker, { k: 'control' }>): Promise<void> {
  try {
    say({ k: 'controlled', n, result: await renderer.control(call) })
  } catch (error) {
    say({ k: 'failed', n, status: error instanceof RenderFailure ? error.status : 500, reason: reasonOf(error) })
  }
}

async function main(): Promise<void> {
  const start = JSON.parse(process.argv[2] ?? '{}') as WorkerStart
  process.once('disconnect', () => process.exit(0))
  // The terminal's Ctrl-C goes to the whole group; the mothership says when it is time.
  process.on('SIGINT', () => undefined)
  try {
    const renderer = await Renderer.load(start)
    process.on('message', (message: ToWorker) => {
      if (message.k === 'ping') say({ k: 'pong', n: message.n })
      else if (message.k === 'control') void control(renderer, message)
      else void render(renderer, message)
    })
    say({ k: 'ready' })
  } catch (error) {
    say({ k: 'unfit', reason: reasonOf(error) })
  }
}

void main()
