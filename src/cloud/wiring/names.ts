/** Numbers for names, so that what is asked a million times is an index and not a text. A number stays its name's. */
export class Names {
  readonly #numbers = new Map<string, number>()
  readonly #names: string[] = []

  number(name: string): number {
    let number = this.#numbers.get(name)
    if (number === undefined) {
      number = this.#names.push(name) - 1
      this.#numbers.set(name, number)
    }
    return number
  }

  find(name: string): number | undefined {
    return this.#numbers.get(name)
  }

  name(number: number): string {
    return this.#names[number]!
  }

  get size(): number {
    return this.#names.length
  }
}

/** A table of yes and no by number, which grows with the numbers. */
export class Flags {
  #bytes = new Uint8Array(64)

  has(number: number): boolean {
    return this.#bytes[number] === 1
  }

  set(number: number, yes: boolean): void {
    if (number >= this.#bytes.length) {
      const more = new Uint8Array(Math.max(number + 1, this.#bytes.length * 2))
      more.set(this.#bytes)
      this.#bytes = more
    }
    this.#bytes[number] = yes ? 1 : 0
  }
}

/** Numbers by number, which are 0 until they are set. */
export class Counts {
  #counts = new Uint32Array(64)

  get(number: number): number {
    return this.#counts[number] ?? 0
  }

  set(number: number, count: number): void {
    if (number >= this.#counts.length) {
      const more = new Uint32Array(Math.max(number + 1, this.#counts.length * 2))
      more.set(this.#counts)
      this.#counts = more
    }
    this.#counts[number] = count
  }
}
