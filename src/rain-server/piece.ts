/** A page while it is made: pieces of html with slots for other pieces, which may come later. Pure. */

/** Urls of style sheets and scripts that a piece needs, in order. */
export interface Assets {
  readonly css: readonly string[]
  readonly js: readonly string[]
}

/** `texts[0] slots[0] texts[1] … slots[n-1] texts[n]`. */
export interface Piece extends Assets {
  readonly texts: readonly string[]
  readonly slots: readonly Slot[]
  readonly title?: string
}

export const noAssets: Assets = { css: [], js: [] }

export const pieceOf = (html: string, assets: Assets = noAssets): Piece => ({ texts: [html], slots: [], ...assets })

export class Slot {
  #piece: Piece | undefined
  #wake: (() => void) | undefined

  constructor(
    /** What it is likely to need, as it was before. */
    readonly expected: Assets,
    /** When it was asked for, ms. */
    readonly sinceMs: number,
    /** That something else may stand here until it comes. */
    readonly placeholder: boolean,
    private readonly arrivals?: Arrivals,
  ) {}

  get piece(): Piece | undefined {
    return this.#piece
  }

  fill(piece: Piece): void {
    this.#piece = piece
    this.#wake?.()
    this.arrivals?.notify()
  }

  /** Calls once when it is filled. */
  onFilled(wake: () => void): void {
    if (this.#piece) wake()
    else this.#wake = wake
  }
}

/** Of a page: that some slot was filled. */
export class Arrivals {
  #look: (() => void) | undefined

  notify(): void {
    this.#look?.()
  }

  /** One at a time. */
  watch(look: (() => void) | undefined): void {
    this.#look = look
  }
}

/** A place in a fragment's html, in place of so many characters: for another piece, or for nothing. */
export interface Place {
  readonly at: number
  readonly length: number
  readonly slot?: Slot
}

/** Pieces go in at their offsets, whatever the html around them says. */
export function split(
  open: string,
  html: string,
  close: string,
  places: readonly Place[],
): Pick<Piece, 'texts' | 'slots'> {
  const texts: string[] = []
  const slots: Slot[] = []
  let text = open
  let from = 0
  for (const place of places.length > 1 ? [...places].sort((a, b) => a.at - b.at) : places) {
    const at = Math.min(Math.max(place.at, from), html.length)
    text += html.slice(from, at)
    from = Math.max(at, Math.min(place.at + place.length, html.length))
    if (!place.slot) continue
    texts.push(text)
    slots.push(place.slot)
    text = ''
  }
  texts.push(text + html.slice(from) + close)
  return { texts, slots }
}

/** All that is known of what a page needs, in its order; each once, and none that `told` has. Adds to `told`. */
export function assetsWithin(piece: Piece, told: Told): Assets {
  const css: string[] = []
  const js: string[] = []
  const add = (assets: Assets): void => {
    for (const sheet of assets.css) if (told.isNew(sheet)) css.push(sheet)
    for (const script of assets.js) if (told.isNew(script)) js.push(script)
  }
  const visit = (each: Piece): void => {
    add(each)
    for (const slot of each.slots) {
      if (slot.piece) visit(slot.piece)
      else add(slot.expected)
    }
  }
  visit(piece)
  return { css, js }
}

/** Which urls a page has named already. */
export class Told {
  readonly #urls = new Set<string>()

  isNew(url: string): boolean {
    if (this.#urls.has(url)) return false
    this.#urls.add(url)
    return true
  }
}

/** Where a walk stopped: at a slot that is empty still, or at the end. */
export interface Stretch {
  readonly text: string
  readonly slot: Slot | undefined
}

/** A page's text in order, as far as it is there. `late`: what pieces need that was not named before. */
export class Walk {
  readonly #open: { piece: Piece; index: number }[]

  constructor(
    root: Piece,
    private readonly late: (piece: Piece) => string,
  ) {
    this.#open = [{ piece: root, index: -1 }]
  }

  next(): Stretch {
    let text = ''
    for (let at = this.#open.at(-1); at; at = this.#open.at(-1)) {
      const { piece } = at
      if (at.index < 0) {
        at.index = 0
        text += this.late(piece) + piece.texts[0]!
      }
      const slot = piece.slots[at.index]
      if (!slot) {
        this.#open.pop()
        const above = this.#open.at(-1)
        if (above) text += this.#onward(above)
        continue
      }
      if (!slot.piece) return { text, slot }
      this.#open.push({ piece: slot.piece, index: -1 })
    }
    return { text, slot: undefined }
  }

  /** Whether anything is there beyond the slot at which it stopped. */
  readyBeyond(): boolean {
    return this.#open.some(({ piece, index }) => piece.slots.some((slot, at) => at > index && slot.piece))
  }

  /** Leaves the slot at which it stopped empty. */
  skip(): string {
    const at = this.#open.at(-1)
    return at ? this.#onward(at) : ''
  }

  #onward(at: { piece: Piece; index: number }): string {
    at.index++
    return at.piece.texts[at.index]!
  }
}
