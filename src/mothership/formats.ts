/** Numbers, dates and times as who looks writes them: RAIN's helpers `number`, `percentage`, `currency`, `date`, `time`, `range`. */

const tagOf = (language: string): string => language.replaceAll('_', '-')

/** What the language is spoken with, where nothing else is said. */
const currencies: Readonly<Record<string, string>> = {
  AU: 'AUD',
  BR: 'BRL',
  CA: 'CAD',
  CH: 'CHF',
  CN: 'CNY',
  CZ: 'CZK',
  DK: 'DKK',
  GB: 'GBP',
  HU: 'HUF',
  IN: 'INR',
  JP: 'JPY',
  MX: 'MXN',
  NO: 'NOK',
  PL: 'PLN',
  RO: 'RON',
  SE: 'SEK',
  UK: 'GBP',
  US: 'USD',
}
const withEuro: ReadonlySet<string> = new Set('AT BE DE EE ES FI FR GR HR IE IT LT LU LV MT NL PT SI SK'.split(' '))

function currencyOf(language: string): string {
  let region: string | undefined
  try {
    region = new Intl.Locale(tagOf(language)).maximize().region
  } catch {
    // No language that is known: as below.
  }
  if (region === undefined) return 'USD'
  return withEuro.has(region) ? 'EUR' : (currencies[region] ?? 'USD')
}

/** In another language where this one is none. */
function inLanguage<Format>(language: string, make: (tag: string) => Format): Format {
  try {
    return make(tagOf(language))
  } catch {
    return make('en-US')
  }
}

/** What is no number, or no date, is shown as it is. */
const shown = (value: unknown): string => (value === undefined || value === null ? '' : String(value))

function number(value: unknown, language: string, options: Intl.NumberFormatOptions): string {
  const found = typeof value === 'string' && value.trim() === '' ? Number.NaN : Number(value)
  if (value === null || Number.isNaN(found)) return shown(value)
  return inLanguage(language, tag => new Intl.NumberFormat(tag, options)).format(found)
}

function moment(value: unknown, language: string, options: Intl.DateTimeFormatOptions): string {
  const date = dateOf(value)
  return date ? inLanguage(language, tag => new Intl.DateTimeFormat(tag, options)).format(date) : shown(value)
}

function dateOf(value: unknown): Date | undefined {
  if (typeof value !== 'string' && typeof value !== 'number' && !(value instanceof Date)) return undefined
  const date = new Date(value)
  return Number.isNaN(date.getTime()) ? undefined : date
}

const day = { year: 'numeric', month: '2-digit', day: '2-digit' } as const
const longDay = { year: 'numeric', month: 'long', day: 'numeric' } as const

type Formatter = (values: readonly unknown[], language: string, named: Readonly<Record<string, unknown>>) => string

export const formats: Readonly<Record<string, Formatter>> = {
  number: ([value], language) => number(value, language, { maximumFractionDigits: 20 }),
  /** `{{percentage 12.5}}` is 12.5 %. */
  percentage: ([value], language) =>
    Number.isNaN(Number(value))
      ? shown(value)
      : number(Number(value) / 100, language, { style: 'percent', maximumFractionDigits: 2 }),
  /** `{{currency 12.5 code="CHF"}}` */
  currency: ([value], language, { code }) =>
    number(value, language, {
      style: 'currency',
      currency: typeof code === 'string' && /^[A-Za-z]{3}$/.test(code) ? code : currencyOf(language),
    }),
  date: ([value], language) => moment(value, language, day),
  time: ([value], language) => moment(value, language, { hour: '2-digit', minute: '2-digit' }),
  range: ([from, to], language) => {
    const [start, end] = [dateOf(from), dateOf(to)]
    if (!start || !end) return `${shown(from)} - ${shown(to)}`
    return inLanguage(language, tag => new Intl.DateTimeFormat(tag, longDay)).formatRange(start, end)
  },
}
