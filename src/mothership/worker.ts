/**
 * The process that runs a component version: started by a mothership with a clean environment, ends with its channel.
 * A component may crash it, stall it or call `process.exit`; the mothership deals with all of these from outside.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { FromWorker, SocketCall, ToWorker, WorkerStart } from './ipc.js'
import { createLogger } from './logger.js'
import { Renderer, RenderFailure } from './renderer.js'
import { Asks } from './state/code.js'

/** A channel that is being closed is no error: this process ends with it. */
const say = (message: FromWorker): void => {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined)
}

/** Whatever a component throws: not all of it can be made a text. */
function reasonOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error).slice(0, 1000)
  } catch {
    return 'it threw something that is no error'
  }
}

async function answer(n: number, make: () => Promise<FromWorker>): Promise<void> {
  try {
    say(await make())
  } catch (error) {
    say({ k: 'failed', n, status: error instanceof RenderFailure ? error.status : 500, reason: reasonOf(error) })
  }
}

/** What is said after `opened` belongs to the socket, so there is no other answer. */
function open(renderer: Renderer, n: number, call: SocketCall): void {
  try {
    renderer.open(n, call)
  } catch (error) {
    say({ k: 'failed', n, status: error instanceof RenderFailure ? error.status : 500, reason: reasonOf(error) })
  }
}

/** The garbage collector, of which a process of its own may have its. */
function collector(): () => void {
  setFlagsFromString('--expose-gc')
  return runInNewContext('gc') as () => void
}

async function main(): Promise<void> {
  const start = JSON.parse(process.argv[2] ?? '{}') as WorkerStart
  process.once('disconnect', () => process.exit(0))
  const logger = createLogger(line => void process.stdout.write(line))
  Object.defineProperty(globalThis, 'logger', { value: logger, writable: true, configurable: true })
  const collect = collector()
  try {
    const asks = new Asks(say)
    const renderer = await Renderer.load(start, asks, say)
    process.on('message', (message: ToWorker) => {
      const { k, n } = message
      if (k === 'ping') say({ k: 'pong', n })
      else if (k === 'collect') collect()
      else if (k === 'told') asks.told(message)
      else if (k === 'render') {
        void answer(n, async () => ({ k: 'rendered', n, result: await renderer.render(message.call) }))
      } else if (k === 'control') {
        void answer(n, async () => ({ k: 'controlled', n, result: await renderer.control(message.call) }))
      } else if (k === 'open') open(renderer, n, message.call)
      else if (k === 'hear') renderer.websockets?.hear(n, message.text)
      else renderer.websockets?.end(n)
    })
    say({ k: 'ready' })
  } catch (error) {
    say({ k: 'unfit', reason: reasonOf(error) })
  }
}

void main()
