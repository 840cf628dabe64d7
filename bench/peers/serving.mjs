/** What the programs here have in common: arguments, the word that they serve, and their end. */

export const host = '127.0.0.1'

/** The arguments, as many as are named; ends the program with its usage when one is missing. */
export function argumentsNamed(...names) {
  const given = process.argv.slice(2)
  if (given.length === names.length) return given
  process.stderr.write(`usage: node ${process.argv[1]} ${names.join(' ')}\n`)
  process.exit(2)
}

/** A port or a time in ms; ends the program when it is neither. */
export function wholeNumber(name, text) {
  const value = Number(text)
  if (/^\d+$/.test(text) && value <= 65_535) return value
  process.stderr.write(`${name} must be a whole number up to 65535, not ${text}\n`)
  process.exit(2)
}

export function ready() {
  process.on('SIGTERM', () => process.exit(0))
  process.stdout.write('ready\n')
}
