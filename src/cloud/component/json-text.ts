/**
 * Where things are in a JSON text. The language's own parser says what the text means, but not where a value stands,
 * and of some mistakes not even where they are.
 */
export interface Place {
  /** Both from 1; columns in UTF-16 units, as editors count them. */
  readonly line: number
  readonly column: number
}

export type JsonText =
  | { readonly kind: 'good'; readonly value: unknown }
  | { readonly kind: 'bad'; readonly place: Place; readonly message: string }

export function readJson(text: string): JsonText {
  try {
    return { kind: 'good', value: JSON.parse(text) as unknown }
  } catch (error) {
    const found = new Scanner(text).scan()
    if (found.mistake) return { kind: 'bad', place: placeAt(text, found.mistake.at), message: found.mistake.message }
    return { kind: 'bad', place: placeAt(text, 0), message: (error as Error).message }
  }
}

/** Of a text that can be parsed: the place of the value, or of the nearest thing around it that is there. */
export function placesIn(text: string): (pointer: string) => Place {
  const { places } = new Scanner(text).scan()
  return pointer => {
    for (let path = pointer === '/' ? '' : pointer; ; path = path.slice(0, path.lastIndexOf('/'))) {
      const at = places.get(path)
      if (at !== undefined) return placeAt(text, at)
      if (path === '') return { line: 1, column: 1 }
    }
  }
}

export function placeAt(text: string, offset: number): Place {
  const before = text.slice(0, offset).split('\n')
  return { line: before.length, column: before.at(-1)!.length + 1 }
}

class Mistake extends Error {
  constructor(
    readonly at: number,
    message: string,
  ) {
    super(message)
  }
}

/** Deeper than anything that is written by hand, shallower than the stack. */
const depthMax = 200
const string = /"(?:[^"\\]|\\(?:["\\/bfnrt]|u[\dA-Fa-f]{4}))*"/y
const scalar = /-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?|true|false|null/y
const blank = /[ \t\n\r]*/y

/** Fields are found at their names, elements at themselves. */
class Scanner {
  readonly places = new Map<string, number>()
  #at = 0

  constructor(private readonly text: string) {}

  scan(): { places: ReadonlyMap<string, number>; mistake?: Mistake } {
    try {
      this.#blank()
      this.places.set('', this.#at)
      this.#value('', 0)
      if (this.#at < this.text.length) this.#fail('there is more after the end of the value')
      return { places: this.places }
    } catch (error) {
      if (error instanceof Mistake) return { places: this.places, mistake: error }
      throw error
    }
  }

  #value(path: string, depth: number): void {
    if (depth > depthMax) this.#fail(`nested more than ${depthMax} deep`)
    const first = this.text[this.#at]
    if (first === '{') this.#object(path, depth)
    else if (first === '[') this.#list(path, depth)
    else if (first === '"') this.#string()
    else if (!this.#match(scalar)) this.#fail(`a value is expected here, not ${this.#found()}`)
    this.#blank()
  }

  #object(path: string, depth: number): void {
    this.#at++
    this.#blank()
    if (this.#take('}')) return
    do {
      this.#blank()
      const at = this.#at
      if (this.text[at] !== '"') this.#fail(`a name in double quotes is expected here, not ${this.#found()}`)
      const name = JSON.parse(this.#string()) as string
      const inner = `${path}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`
      this.places.set(inner, at)
      this.#blank()
      if (!this.#take(':')) this.#fail(`\`:\` is expected here, not ${this.#found()}`)
      this.#blank()
      this.#value(inner, depth + 1)
    } while (this.#take(','))
    if (!this.#take('}')) this.#fail(`\`,\` or \`}\` is expected here, not ${this.#found()}`)
  }

  #list(path: string, depth: number): void {
    this.#at++
    this.#blank()
    if (this.#take(']')) return
    let index = 0
    do {
      this.#blank()
      const inner = `${path}/${index++}`
      this.places.set(inner, this.#at)
      this.#value(inner, depth + 1)
    } while (this.#take(','))
    if (!this.#take(']')) this.#fail(`\`,\` or \`]\` is expected here, not ${this.#found()}`)
  }

  #string(): string {
    const from = this.#at
    const found = this.#match(string) ?? this.#fail('a text that does not end, or holds a wrong `\\`')
    const control = [...found].findIndex(each => each < ' ')
    if (control < 0) return found
    this.#at = from + [...found].slice(0, control).join('').length
    return this.#fail('a line break, a tab or another control character in a text')
  }

  #take(sign: string): boolean {
    if (this.text[this.#at] !== sign) return false
    this.#at++
    return true
  }

  #blank(): void {
    this.#match(blank)
  }

  #match(pattern: RegExp): string | undefined {
    pattern.lastIndex = this.#at
    const found = pattern.exec(this.text)?.[0]
    this.#at += found?.length ?? 0
    return found
  }

  #found(): string {
    return this.#at >= this.text.length ? 'the end of the file' : JSON.stringify(this.text[this.#at])
  }

  #fail(message: string): never {
    throw new Mistake(this.#at, message)
  }
}
