/** Asks for pages as browsers do, over kept connections, and says when what came. */
import { Agent, get } from 'node:http'

export interface Answered {
  readonly status: number
  readonly body: string
  /** When the first byte of html came, and the last one, ms since it was asked for. */
  readonly firstMs: number
  readonly lastMs: number
  /** When each text that was looked for had come. */
  readonly seenMs: readonly number[]
}

export class PageClient {
  readonly #agent = new Agent({ keepAlive: true, maxSockets: 1_000 })

  ask(url: string, lookFor: readonly string[] = [], headers: Record<string, string> = {}): Promise<Answered> {
    const fromMs = performance.now()
    return new Promise((resolve, reject) => {
      get(url, { agent: this.#agent, headers: { accept: 'text/html', ...headers } }, response => {
        let [body, firstMs] = ['', Number.NaN]
        const seenMs: number[] = lookFor.map(() => Number.NaN)
        response.setEncoding('utf8').on('data', (text: string) => {
          body += text
          const nowMs = performance.now() - fromMs
          if (Number.isNaN(firstMs)) firstMs = nowMs
          for (const [index, each] of lookFor.entries()) {
            if (Number.isNaN(seenMs[index]!) && body.includes(each)) seenMs[index] = nowMs
          }
        })
        response.on('error', reject)
        response.on('end', () =>
          resolve({ status: response.statusCode ?? 0, body, firstMs, lastMs: performance.now() - fromMs, seenMs }),
        )
      }).on('error', reject)
    })
  }

  close(): void {
    this.#agent.destroy()
  }
}

export interface Asked {
  readonly lastMs: readonly number[]
  readonly answers: readonly Answered[]
  readonly seconds: number
}

export type Check = (answered: Answered) => void

/** So many a second, each at its time whatever became of the others, so that slow answers hide nothing. */
export async function atRate(
  perSecond: number,
  count: number,
  ask: () => Promise<Answered>,
  check: Check,
): Promise<Asked> {
  const fromMs = performance.now()
  const all: Promise<Answered>[] = []
  for (let i = 0; i < count; i++) {
    const waitMs = fromMs + (i * 1000) / perSecond - performance.now()
    if (waitMs > 0) await new Promise(resolve => setTimeout(resolve, waitMs))
    all.push(ask())
  }
  return judged(await Promise.all(all), fromMs, check)
}

/** As fast as so many can, one after the other each. */
export async function atOnce(
  connections: number,
  ms: number,
  ask: () => Promise<Answered>,
  check: Check,
): Promise<Asked> {
  const fromMs = performance.now()
  const answers: Answered[] = []
  const one = async (): Promise<void> => {
    while (performance.now() - fromMs < ms) answers.push(await ask())
  }
  await Promise.all(Array.from({ length: connections }, one))
  return judged(answers, fromMs, check)
}

function judged(answers: readonly Answered[], fromMs: number, check: Check): Asked {
  const seconds = (performance.now() - fromMs) / 1000
  for (const each of answers) check(each)
  return { lastMs: answers.map(each => each.lastMs).sort((a, b) => a - b), answers, seconds }
}

export const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
