/**
 * What a translated text leaves open, filled in as RAIN's Jed did: `%s`, `%d`, `%1$s`, `%.2f`, `%(name)s`, `%%`. A place
 * for which there is no argument stays as it is written: a page with a `%s` on it is better than none. Pure.
 */
const place =
  /%(?:%|(?:(\d{1,2})\$)?(?:\(([\w.]{1,60})\))?(\+)?(?:(0)|'(.))?(-)?(\d{1,3})?(?:\.(\d{1,2}))?([bcdefiosuxX]))/g

/** Without arguments the text is taken as it is, so that "100%" needs no care. */
export function filled(text: string, args: readonly unknown[]): string {
  if (args.length === 0) return text
  let next = 0
  return text.replace(place, (whole, number, name, plus, zero, pad, left, width, precision, type) => {
    if (whole === '%%') return '%'
    const value = name === undefined ? args[number === undefined ? next++ : Number(number) - 1] : named(args[0], name)
    if (value === undefined) return whole
    const shown = converted(value, type, precision === undefined ? undefined : Number(precision), plus !== undefined)
    return padded(shown, Number(width ?? 0), zero ?? pad ?? ' ', left !== undefined)
  })
}

/** `user.name` of the first argument. */
function named(value: unknown, path: string): unknown {
  let found: unknown = value
  for (const part of path.split('.')) {
    if (typeof found !== 'object' || found === null || !Object.hasOwn(found, part)) return undefined
    found = (found as Record<string, unknown>)[part]
  }
  return found
}

function converted(value: unknown, type: string, precision: number | undefined, plus: boolean): string {
  if (type === 's') return String(value).slice(0, precision)
  const number = Number(value)
  // No number where one is expected: it is shown as it is, as in the text of its author.
  if (Number.isNaN(number)) return String(value)
  const sign = plus && number >= 0 ? '+' : ''
  switch (type) {
    case 'b':
      return Math.trunc(number).toString(2)
    case 'o':
      return Math.trunc(number).toString(8)
    case 'x':
      return Math.trunc(number).toString(16)
    case 'X':
      return Math.trunc(number).toString(16).toUpperCase()
    case 'c':
      return String.fromCodePoint(Math.min(Math.max(0, Math.trunc(number)), 0x10ffff))
    case 'e':
      return sign + number.toExponential(precision)
    case 'f':
      return sign + (precision === undefined ? String(number) : number.toFixed(precision))
    case 'u':
      return String(Math.abs(Math.trunc(number)))
    default:
      return sign + String(Math.trunc(number))
  }
}

function padded(text: string, width: number, fill: string, left: boolean): string {
  if (left) return text.padEnd(width, fill === '0' ? ' ' : fill)
  if (fill === '0' && /^[-+]/.test(text)) return text[0] + text.slice(1).padStart(width - 1, '0')
  return text.padStart(width, fill)
}
