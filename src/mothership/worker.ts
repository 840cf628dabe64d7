/**
 * The process that runs a component version: started by a mothership with a clean environment, ends with its channel.
 * A component may crash it, stall it or call `process.exit`; the mothership deals with all of these from outside.
 */
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import { Together } from '../sdk/together.js'
import type { ControlCall, FromWorker, RenderAnswered, RenderAsked, SocketCall, ToWorker, WorkerStart } from './ipc.js'
import { createLogger } from './logger.js'
import { Renderer, RenderFailure } from './renderer.js'
import { Asks } from './state/code.js'

/** In one message. */
const answersMax = 32

/** A channel that is being closed is no error: this process ends with it. */
const say = (message: FromWorker): void => {
  if (process.connected) process.send?.(message, undefined, undefined, () => undefined)
}

/** Views that are ready at the same time go in one message. */
const rendered = new Together<RenderAnswered>(setImmediate, answersMax, list => {
  if (list.length === 1) return sayOrFail(list[0]!)
  try {
    say({ k: 'several', list })
  } catch {
    for (const each of list) sayOrFail(each)
  }
})

/** What cannot be sent, whatever the component has put into it, is its own failure. */
function sayOrFail(answer: RenderAnswered): void {
  try {
    say(answer)
  } catch (error) {
    say(failureOf(answer.n, error))
  }
}

/** Whatever a component throws: not all of it can be made a text. */
function reasonOf(error: unknown): string {
  try {
    return String(error instanceof Error ? error.message : error).slice(0, 1000)
  } catch {
    return 'it threw something that is no error'
  }
}

const failureOf = (n: number, error: unknown): RenderAnswered => ({
  k: 'failed',
  n,
  status: error instanceof RenderFailure ? error.status : 500,
  reason: reasonOf(error),
})

async function render(renderer: Renderer, { n, call }: RenderAsked): Promise<void> {
  try {
    rendered.add({ k: 'rendered', n, result: await renderer.render(call) })
  } catch (error) {
    rendered.add(failureOf(n, error))
  }
}

async function control(renderer: Renderer, n: number, call: ControlCall): Promise<void> {
  try {
    say({ k: 'controlled', n, result: await renderer.control(call) })
  } catch (error) {
    say(failureOf(n, error))
  }
}

/** What is said after `opened` belongs to the socket, so there is no other answer. */
function open(renderer: Renderer, n: number, call: SocketCall): void {
  try {
    renderer.open(n, call)
  } catch (error) {
    say(failureOf(n, error))
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
      else if (k === 'render') void render(renderer, message)
      else if (k === 'renders') for (const each of message.list) void render(renderer, each)
      else if (k === 'control') void control(renderer, n, message.call)
      else if (k === 'open') open(renderer, n, message.call)
      else if (k === 'hear') renderer.websockets?.hear(n, message.text)
      else renderer.websockets?.end(n)
    })
    say({ k: 'ready' })
  } catch (error) {
    say({ k: 'unfit', reason: reasonOf(error) })
  }
}

void main()
