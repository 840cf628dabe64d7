/**
 * Where children go in a rendered template. The helper leaves a marker that carries a random nonce, so that nothing a
 * component puts out can be taken for one; afterwards the markers are cut out and their places kept as offsets.
 */
export interface Marked<Child> {
  readonly html: string
  readonly children: readonly (Child & { readonly at: number })[]
}

export const marker = (nonce: string, index: number): string => `\u0000${nonce}:${index}\u0000`

/** A marker that is not in the html (a block that threw its content away) leaves its child out. */
export function cutMarkers<Child extends object>(
  marked: string,
  nonce: string,
  children: readonly Child[],
): Marked<Child> {
  const placed: (Child & { readonly at: number })[] = []
  const parts = marked.split(new RegExp(`\u0000${nonce}:(\\d+)\u0000`))
  let html = parts[0] ?? ''
  for (let i = 1; i < parts.length; i += 2) {
    const child = children[Number(parts[i])]
    if (child) placed.push({ ...child, at: html.length })
    html += parts[i + 1] ?? ''
  }
  return { html, children: placed }
}
