/**
 * Which of a language's plural forms a number takes, from the `Plural-Forms` header of a .po file. The header is an
 * expression of C over `n`; it is parsed and evaluated here, never run as code. Pure.
 */
export interface PluralForms {
  readonly count: number
  /** Which form `n` takes; the last one where the expression says more than there are. */
  formOf(n: number): number
}

export type PluralReading =
  | { readonly kind: 'good'; readonly forms: PluralForms }
  | { readonly kind: 'bad'; readonly message: string }

type Expression = (n: number) => number

const headerMax = 1_000
const formsMax = 10
const tokens = /\s*(\d+|n|&&|\|\||[=!<>]=|[-+*/%<>!?:()])/y
/** What binds least comes first. */
const levels: readonly (readonly string[])[] = [
  ['||'],
  ['&&'],
  ['==', '!='],
  ['<', '>', '<=', '>='],
  ['+', '-'],
  ['*', '/', '%'],
]

/** One form for one, another for all else: what a file means that says nothing. */
export const twoForms: PluralForms = { count: 2, formOf: n => (n === 1 ? 0 : 1) }

/** `nplurals=2; plural=n != 1;` */
export function readPluralForms(header: string): PluralReading {
  const found = /^\s*nplurals\s*=\s*(\d+)\s*;\s*plural\s*=\s*([^;]+);?\s*$/.exec(header)
  if (!found || header.length > headerMax) return bad('is to be "nplurals=<number>; plural=<expression>;"')
  const count = Number(found[1])
  if (count < 1 || count > formsMax) return bad(`nplurals is ${found[1]}, and has to be 1 to ${formsMax}`)
  try {
    const expression = new Parser(found[2]!).whole()
    const formOf = (n: number): number => {
      const form = expression(Math.abs(Math.trunc(n)))
      return Math.min(Math.max(0, form), count - 1)
    }
    return { kind: 'good', forms: { count, formOf } }
  } catch (error) {
    return bad(`plural: ${(error as Error).message}`)
  }
}

const bad = (message: string): PluralReading => ({ kind: 'bad', message: `Plural-Forms ${message}` })

class Parser {
  readonly #tokens: string[] = []
  #at = 0

  constructor(text: string) {
    tokens.lastIndex = 0
    const source = text.trim()
    while (tokens.lastIndex < source.length) {
      const from = tokens.lastIndex
      const token = tokens.exec(source)?.[1]
      if (token === undefined) throw new Error(`"${source.slice(from, from + 20)}" is not understood`)
      this.#tokens.push(token)
    }
  }

  whole(): Expression {
    const expression = this.#choice()
    if (this.#at < this.#tokens.length) throw new Error(`"${this.#tokens[this.#at]}" is not expected`)
    return expression
  }

  #choice(): Expression {
    const condition = this.#binary(0)
    if (!this.#take('?')) return condition
    const yes = this.#choice()
    if (!this.#take(':')) throw new Error('a "?" without a ":"')
    const no = this.#choice()
    return n => (condition(n) ? yes(n) : no(n))
  }

  #binary(level: number): Expression {
    const operators = levels[level]
    if (!operators) return this.#unary()
    let left = this.#binary(level + 1)
    for (;;) {
      const operator = operators.find(each => this.#take(each))
      if (operator === undefined) return left
      left = combined(operator, left, this.#binary(level + 1))
    }
  }

  #unary(): Expression {
    if (this.#take('!')) {
      const inner = this.#unary()
      return n => Number(!inner(n))
    }
    if (this.#take('(')) {
      const inner = this.#choice()
      if (!this.#take(')')) throw new Error('a "(" without a ")"')
      return inner
    }
    const token = this.#tokens[this.#at++]
    if (token === 'n') return n => n
    if (token === undefined || !/^\d+$/.test(token)) throw new Error(`a number or n is expected, not "${token ?? ''}"`)
    return () => Number(token)
  }

  #take(token: string): boolean {
    if (this.#tokens[this.#at] !== token) return false
    this.#at++
    return true
  }
}

/** A division by zero is 0: whoever writes one gets a form, not an error on a page. */
function combined(operator: string, a: Expression, b: Expression): Expression {
  switch (operator) {
    case '||':
      return n => Number(a(n) !== 0 || b(n) !== 0)
    case '&&':
      return n => Number(a(n) !== 0 && b(n) !== 0)
    case '==':
      return n => Number(a(n) === b(n))
    case '!=':
      return n => Number(a(n) !== b(n))
    case '<':
      return n => Number(a(n) < b(n))
    case '>':
      return n => Number(a(n) > b(n))
    case '<=':
      return n => Number(a(n) <= b(n))
    case '>=':
      return n => Number(a(n) >= b(n))
    case '+':
      return n => a(n) + b(n)
    case '-':
      return n => a(n) - b(n)
    case '*':
      return n => a(n) * b(n)
    case '/':
      return n => (b(n) === 0 ? 0 : Math.trunc(a(n) / b(n)))
    default:
      return n => (b(n) === 0 ? 0 : a(n) % b(n))
  }
}
