/**
 * A page on its way out, in the order of its html: what is there goes at once, what is late is waited for, and all that
 * becomes ready meanwhile goes with it. To a browser, what is late does not hold up what is there beyond it: it follows
 * at the end of the page, with a line of script that puts it into its place. Everybody else has finished html.
 */
import type { Clock } from '../hypervisor/ports.js'
import { assetsOf, headOf, lateOf, placeholderOf, tail } from './document.js'
import type { Page } from './page.js'
import { assetsWithin, type Piece, type Slot, Told, Walk } from './piece.js'

export interface Sink {
  write(text: string): void
  /** Resolves when more may be written; at once when nobody reads any more. */
  ready(): Promise<void>
  end(text: string): void
}

export interface OutputOptions {
  readonly locale: string
  readonly title: string | undefined
  readonly clock: Clock
  /** Whether who reads it runs scripts, so that what is late may come last. */
  readonly scripts: boolean
}

/** RAIN's: a placeholder comes after so long. */
export const placeholderAfterMs = 500
/** What comes within so long goes in one write: one costs about as much as the fragment in it. */
const writeEveryMs = 4
/** What is there beyond something late waits for so long: parts that take about as long as each other stay in order. */
export const heldUpMsMax = 20

/** All of it; every slot has to be filled. */
export function wholeDocument(page: Page, { locale, title }: Pick<OutputOptions, 'locale' | 'title'>): string {
  const head = headOf({ title, locale, ...assetsWithin(page.root, new Told()) })
  return head + new Walk(page.root, () => '').next().text + tail
}

/** Its html alone, with what it needs; every slot has to be filled. */
export function wholeView(page: Page): { html: string; css: readonly string[]; js: readonly string[] } {
  return { html: new Walk(page.root, () => '').next().text, ...assetsWithin(page.root, new Told()) }
}

export async function streamDocument(page: Page, sink: Sink, options: OutputOptions): Promise<void> {
  await new Streaming(page, sink, options).run()
}

class Streaming {
  readonly #told = new Told()
  #late = 0
  #begun = false

  constructor(
    private readonly page: Page,
    private readonly sink: Sink,
    private readonly options: OutputOptions,
  ) {}

  async run(): Promise<void> {
    const { page, options, sink } = this
    const { locale, title } = options
    const head = headOf({ title, locale, ...assetsWithin(page.root, this.#told) })
    const [text, late] = await this.#walk(page.root, head, options.scripts)
    if (late.length === 0) return sink.end(text + tail)
    sink.write(text)
    await this.#inOrderOfArrival(late)
    sink.end(tail)
  }

  /** Returns what is to be written still, and what has a placeholder in its place. */
  async #walk(root: Piece, begun: string, scripts: boolean): Promise<[string, [string, Slot][]]> {
    const walk = new Walk(root, piece => this.#assets(piece))
    const late: [string, Slot][] = []
    let text = begun
    for (;;) {
      const stretch = walk.next()
      text += stretch.text
      const { slot } = stretch
      if (!slot) return [text, late]
      const held = this.#writeSoon(() => {
        this.sink.write(text)
        text = ''
      })
      const filled = await this.#filled(slot, scripts ? walk : undefined)
      // What was not written yet goes with what came.
      if (filled && held()) continue
      await this.sink.ready()
      if (filled) continue
      const name = `rain-late-${++this.#late}`
      const standing = slot.placeholder ? await this.page.placeholder() : undefined
      if (slot.piece) continue
      late.push([name, slot])
      text += placeholderOf(name, standing ? this.#assets(standing) + standing.texts.join('') : '') + walk.skip()
    }
  }

  /**
   * The head at once; after that a write is worth a wait, since parts that are asked for together come together. The
   * function that is returned holds it back; false: it was written.
   */
  #writeSoon(write: () => void): () => boolean {
    if (!this.#begun) {
      this.#begun = true
      write()
      return () => false
    }
    let held = true
    const cancel = this.options.clock.after(writeEveryMs, () => {
      held = false
      write()
    })
    return () => {
      cancel()
      return held
    }
  }

  /** What a piece needs that was not named in the head, because nobody knew of it. */
  #assets(piece: Piece): string {
    if (piece.css.length + piece.js.length === 0) return ''
    const isNew = (url: string): boolean => this.#told.isNew(url)
    return assetsOf({ css: piece.css.filter(isNew), js: piece.js.filter(isNew) })
  }

  /** False: it is not to be waited for here. What arrives together goes together. `walk`: it may come last. */
  #filled(slot: Slot, walk: Walk | undefined): Promise<boolean> {
    return new Promise(resolve => {
      const stop = walk ? this.#untilLate(slot, walk, () => resolve(false)) : undefined
      slot.onFilled(() => {
        stop?.()
        setImmediate(() => resolve(true))
      })
    })
  }

  /** Calls when something beyond it has been held up for long enough, or the placeholder's time has come. */
  #untilLate(slot: Slot, walk: Walk, late: () => void): () => void {
    const { clock } = this.options
    const leftMs = slot.sinceMs + placeholderAfterMs - clock.nowMs()
    const cancels = slot.placeholder ? [clock.after(Math.max(0, leftMs), () => end(late))] : []
    const look = (): void => {
      if (slot.piece || !walk.readyBeyond()) return
      this.page.arrivals.watch(undefined)
      cancels.push(clock.after(heldUpMsMax, () => end(late)))
    }
    const end = (then?: () => void): void => {
      for (const cancel of cancels) cancel()
      this.page.arrivals.watch(undefined)
      then?.()
    }
    this.page.arrivals.watch(look)
    look()
    return end
  }

  async #inOrderOfArrival(late: readonly [string, Slot][]): Promise<void> {
    const arrivals = late.map(
      ([name, slot]) =>
        new Promise<[string, Slot]>(resolve => {
          slot.onFilled(() => resolve([name, slot]))
        }),
    )
    const open = new Map(late.map(([name], index) => [name, arrivals[index]!]))
    while (open.size > 0) {
      const [name, slot] = await Promise.race(open.values())
      open.delete(name)
      this.sink.write(lateOf(name, await this.#wholeOf(slot.piece!)))
      await this.sink.ready()
    }
  }

  /** A piece with all within it, as one text: it can only be put into its place as a whole. */
  async #wholeOf(piece: Piece): Promise<string> {
    const walk = new Walk(piece, each => this.#assets(each))
    let text = ''
    for (;;) {
      const stretch = walk.next()
      text += stretch.text
      if (!stretch.slot) return text
      await this.#filled(stretch.slot, undefined)
    }
  }
}
