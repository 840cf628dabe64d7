/**
 * What Prometheus' HTTP API answers to an expression, read with suspicion: amounts by mothership, and which of them
 * cannot be used and why. One that cannot be used takes nothing away from the others.
 */

export interface Vector {
  readonly values: ReadonlyMap<string, number>
  /** Named, but of no use. */
  readonly odd: ReadonlyMap<string, Lack>
  /** The time that Prometheus answered for, in seconds since the epoch. */
  readonly atS: number
}

/** Why Prometheus does not tell the load of a mothership. */
export interface Lack {
  /** `unnamed`: no answer has it; `twice`: an answer has it twice; `amount`: NaN, infinite, negative or no number; `old`. */
  readonly why: 'unnamed' | 'twice' | 'amount' | 'old'
  readonly message: string
}

/** No answer at all to what was asked. */
export class Unusable extends Error {}

interface Sample {
  readonly metric?: Readonly<Record<string, unknown>>
  readonly value?: readonly unknown[]
}

interface Answer {
  readonly status?: unknown
  readonly error?: unknown
  readonly data?: { readonly resultType?: unknown; readonly result?: unknown }
}

/** An instant vector; throws when it is none. `label` names the mothership. */
export function vectorOf(text: string, expression: string, label: string): Vector {
  const answer = parsed(text)
  const told = `the answer to ${JSON.stringify(expression)}`
  if (answer?.status === 'error') throw new Unusable(`${told}: ${String(answer.error).slice(0, 300)}`)
  if (answer?.status !== 'success') throw new Unusable(`${told} is not one of Prometheus`)
  const { resultType, result } = answer.data ?? {}
  if (resultType !== 'vector' || !Array.isArray(result)) {
    throw new Unusable(`${told} is no instant vector but ${String(resultType)}`)
  }
  const values = new Map<string, number>()
  const odd = new Map<string, Lack>()
  let atS = 0
  for (const each of result as readonly Sample[]) {
    const id = each?.metric?.[label]
    const [time, value] = Array.isArray(each?.value) ? each.value : []
    if (typeof id !== 'string') continue
    if (Number.isFinite(time)) atS = time as number
    const amount = typeof value === 'string' && value !== '' ? Number(value) : Number.NaN
    if (values.has(id) || odd.has(id)) {
      odd.set(id, { why: 'twice', message: `${told} names it twice: aggregate it by ${label}` })
      values.delete(id)
      // NaN and infinities are what a division by nothing gives: nothing is known of that one.
    } else if (Number.isFinite(amount) && amount >= 0) values.set(id, amount)
    else odd.set(id, { why: 'amount', message: `${told} is ${String(value).slice(0, 40)}` })
  }
  return { values, odd, atS }
}

/** What an answer that is none says of why, to be put after something else. */
export function said(text: string): string {
  const error = parsed(text)?.error
  return typeof error === 'string' ? `: ${error.slice(0, 300)}` : ''
}

function parsed(text: string): Answer | undefined {
  try {
    return JSON.parse(text) as Answer
  } catch {
    return undefined
  }
}
