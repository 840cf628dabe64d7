/**
 * What is known of views from when they were shown before: what they needed, so that the head of a page names it though
 * their fragments come later, and how long they took.
 */
import { type Assets, noAssets } from './piece.js'

interface Learnt {
  assets: Assets
  usualMs: number
}

const learntMax = 50_000
/** How much the latest time counts (exponentially weighted moving average). */
const share = 0.2

/** Keys are component, version and view. */
export class LearntViews {
  readonly #byView = new Map<string, Learnt>()

  /** `tookMs`: absent when nobody made it now. */
  learn(view: string, { css, js }: Assets, tookMs: number | undefined): void {
    const known = this.#byView.get(view)
    if (known) {
      if (css.length + js.length + known.assets.css.length + known.assets.js.length > 0) known.assets = { css, js }
      if (tookMs !== undefined) known.usualMs += share * (tookMs - known.usualMs)
      return
    }
    if (this.#byView.size >= learntMax) this.#byView.clear()
    this.#byView.set(view, { assets: { css, js }, usualMs: tookMs ?? 0 })
  }

  expected(view: string): Assets {
    return this.#byView.get(view)?.assets ?? noAssets
  }

  /** 0 for what was not shown before. */
  usualMs(view: string): number {
    return this.#byView.get(view)?.usualMs ?? 0
  }

  clear(): void {
    this.#byView.clear()
  }
}
