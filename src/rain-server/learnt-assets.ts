/** What views needed when they were shown before. */
import { type Assets, noAssets } from './piece.js'

/** What views needed before: so that the head of a page names it, though their fragments come later. */
export class LearntAssets {
  readonly #byView = new Map<string, Assets>()

  /** `view`: component, version and view. */
  learn(view: string, { css, js }: Assets): void {
    const known = this.#byView.get(view)
    if (css.length + js.length === 0 && known?.css.length === 0 && known.js.length === 0) return
    if (!known && this.#byView.size >= learntMax) this.#byView.clear()
    this.#byView.set(view, { css, js })
  }

  expected(view: string): Assets {
    return this.#byView.get(view) ?? noAssets
  }

  clear(): void {
    this.#byView.clear()
  }
}

const learntMax = 50_000
