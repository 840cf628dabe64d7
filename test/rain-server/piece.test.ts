import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { assetsWithin, noAssets, type Piece, pieceOf, Slot, split, Told, Walk } from '../../src/rain-server/piece.js'

const slot = (expected = noAssets): Slot => new Slot(expected, 0, false)
const textOf = (piece: Piece): string => new Walk(piece, () => '').next().text

interface Tree {
  readonly text: string
  readonly inner: readonly Tree[]
}
const trees = fc.letrec<{ tree: Tree }>(tie => ({
  tree: fc.record({
    text: fc.string({ maxLength: 5 }),
    inner: fc.oneof({ maxDepth: 4 }, fc.constant([]), fc.array(tie('tree'), { maxLength: 3 })),
  }),
})).tree
const expectedOf = ({ text, inner }: Tree): string => `(${text}${inner.map(expectedOf).join('')})`

describe('pieces', () => {
  it('come out in the order of the page, in whatever order and however late they are filled', () => {
    fc.assert(
      fc.property(trees, fc.array(fc.nat(), { minLength: 10, maxLength: 10 }), (tree, dice) => {
        const open: [Slot, Tree][] = []
        const build = ({ text, inner }: Tree): Piece => {
          const slots = inner.map(each => {
            const made = slot()
            open.push([made, each])
            return made
          })
          const places = slots.map(each => ({ at: text.length, length: 0, slot: each }))
          return { ...split('(', text, ')', places), ...noAssets }
        }
        const walk = new Walk(build(tree), () => '')
        let out = ''
        let rolled = 0
        for (;;) {
          const stretch = walk.next()
          out += stretch.text
          if (!stretch.slot) break
          while (!stretch.slot.piece) {
            const [[filled, inner]] = open.splice(dice[rolled++ % 10]! % open.length, 1) as [[Slot, Tree]]
            filled.fill(build(inner))
          }
        }
        expect(out).toBe(expectedOf(tree))
      }),
    )
  })

  it('go in at their offsets, in place of what stands there, whatever the offsets are', () => {
    const at = (offset: number, length: number, html?: string) => {
      const made = html === undefined ? undefined : slot()
      made?.fill(pieceOf(html!))
      return { at: offset, length, ...(made ? { slot: made } : {}) }
    }
    const made = (html: string, ...places: ReturnType<typeof at>[]): string =>
      textOf({ ...split('<', html, '>', places), ...noAssets })
    expect(made('abc', at(3, 0, 'Z'), at(1, 1, 'Y'), at(0, 0, 'X'))).toBe('<XaYcZ>')
    expect(made('abc', at(99, 5, 'Z'))).toBe('<abcZ>')
    expect(made('abc', at(1, 1))).toBe('<ac>')
    expect(made('abc', at(0, 2, 'X'), at(1, 1, 'Y'))).toBe('<XYc>')
  })

  it('name what they need once, what is expected of late ones as well', () => {
    const [here, late] = [slot(), slot({ css: ['/late.css', '/a.css'], js: ['/l.js'] })]
    here.fill(pieceOf('', { css: ['/a.css', '/b.css'], js: ['/b.js'] }))
    const root: Piece = { texts: ['', '', ''], slots: [late, here], css: ['/a.css'], js: [] }
    const told = new Told()
    expect(assetsWithin(root, told)).toEqual({ css: ['/a.css', '/late.css', '/b.css'], js: ['/l.js', '/b.js'] })
    expect(assetsWithin(root, told)).toEqual(noAssets)
  })
})
