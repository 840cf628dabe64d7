/**
 * Intents that code of the server answers: `server/controller/<file>` with a function that gets the context, a function
 * to acknowledge by, and the request. As in RAIN it acknowledges with an error or with data; a promise, or a function that
 * does not take the one to acknowledge by, may also return them.
 */
import type { Descriptor } from '../cloud/component/descriptor.js'
import { intentsOf, readProvider } from '../cloud/component/intents.js'
import type { Controllers } from './controllers.js'

type Handler = (context: object, acknowledge: (error?: unknown, data?: unknown) => void, request: object) => unknown

export interface Intent {
  readonly permissions: readonly string[]
  readonly handler: Handler
}

export class Intents {
  private constructor(private readonly intents: ReadonlyMap<string, Intent>) {}

  /** Throws for one whose function is not there. */
  static of(descriptor: Descriptor, controllers: Controllers | undefined): Intents {
    const intents = new Map<string, Intent>()
    for (const { category, action, provider, permissions = [] } of intentsOf(descriptor)) {
      const read = readProvider(provider)
      if (read?.kind !== 'server') continue
      const handler = controllers?.functionOf(read.file, read.method) as Handler | undefined
      if (!handler) throw new Error(`the intent ${category} ${action}: server/controller/${provider} is no function`)
      intents.set(keyOf(category, action), { permissions, handler })
    }
    return new Intents(intents)
  }

  find(category: string, action: string): Intent | undefined {
    return this.intents.get(keyOf(category, action))
  }
}

const keyOf = (category: string, action: string): string => JSON.stringify([category, action])

/** What the code says, however it says it; code that says nothing is left to the deadline of the call. */
export function acknowledged(handler: Handler, context: object, request: object): Promise<unknown> {
  return new Promise((resolve, reject) => {
    const acknowledge = (error?: unknown, data?: unknown): void => {
      if (error) reject(error)
      else resolve(data)
    }
    const returned = handler(context, acknowledge, request)
    // Who does not take the function to acknowledge by is done when it returns; what others return may be anything.
    if (handler.length < 2) Promise.resolve(returned).then(resolve, reject)
    else if (returned instanceof Promise) returned.then(data => data !== undefined && resolve(data), reject)
  })
}
