/** The page around the fragments: what each page server answers, byte for byte. */

const head = '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<title>Page</title>\n</head>\n<body>\n'

export const pageOf = fragments => `${head}${fragments}\n</body>\n</html>\n`

/** How many fragments `GET /page/K` asks for; undefined when that is not a number from 1 to `max`. */
export function wantedCount(text, max) {
  const count = Number(text)
  return Number.isInteger(count) && count >= 1 && count <= max ? count : undefined
}
