/** A client that counts what fails where the harness' own one would throw: each loop is a connection of its own. */
import { Agent, request } from 'node:http'
import { performance } from 'node:perf_hooks'

export interface Counted {
  readonly answers: number
  readonly times: number[]
  /** When, on which loop, and how. */
  readonly failures: { readonly atMs: number; readonly loop: number; readonly why: string }[]
}

export interface Asking {
  readonly url: string
  /** Loops that keep their connection, and loops that open one for each request. */
  readonly kept: number
  readonly anew: number
  /** Each loop asks this often at most, so that there is time for what is measured beside it. */
  readonly everyMs: number
  /** Undefined: it is what was to be answered. */
  readonly wrong: (status: number, body: string) => string | undefined
  readonly going: (answers: number) => boolean
}

const answerWithinMs = 10_000

export async function ask({ url, kept, anew, everyMs, wrong, going }: Asking): Promise<Counted> {
  const counted: Counted & { answers: number } = { answers: 0, times: [], failures: [] }
  const loop = async (number: number, agent: Agent | undefined): Promise<void> => {
    while (going(counted.answers)) {
      const fromMs = performance.now()
      const why = await one(url, agent, wrong)
      counted.answers++
      counted.times.push(performance.now() - fromMs)
      if (why !== undefined) counted.failures.push({ atMs: performance.now(), loop: number, why })
      const leftMs = fromMs + everyMs - performance.now()
      if (leftMs > 0) await new Promise(resolve => setTimeout(resolve, leftMs))
    }
    agent?.destroy()
  }
  const loops = Array.from({ length: kept + anew }, (_, number) =>
    loop(number, number < kept ? new Agent({ keepAlive: true, maxSockets: 1 }) : undefined),
  )
  await Promise.all(loops)
  counted.times.sort((a, b) => a - b)
  return counted
}

/** Why it failed; undefined when it did not. */
function one(url: string, agent: Agent | undefined, wrong: Asking['wrong']): Promise<string | undefined> {
  return new Promise(resolve => {
    const call = request(url, { agent: agent ?? false, timeout: answerWithinMs }, answer => {
      let body = ''
      answer.setEncoding('utf8').on('data', (part: string) => {
        body += part
      })
      answer.once('end', () => resolve(wrong(answer.statusCode ?? 0, body)))
      answer.once('error', error => resolve(error.message))
    })
    call.once('timeout', () => call.destroy(new Error('no answer')))
    call.once('error', error => resolve(error.message))
    call.end()
  })
}

export const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.ceil(sorted.length * share) - 1)] ?? Number.NaN
