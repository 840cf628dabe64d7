/**
 * Templates as far as placement, wiring and validation need them: which children a view names by the `component`
 * helper, and whether the template can be parsed at all. A name that only run time shows can be any (`any`).
 */
import Handlebars from 'handlebars'
import type { FieldError } from '../errors.js'
import type { ComponentRecord } from '../records.js'

export type Use = ComponentRecord['views'][number]['uses'][number]

export interface Named {
  readonly name: string
  readonly line: number
  readonly column: number
}

export type TemplateReading =
  | {
      readonly kind: 'good'
      readonly uses: readonly Use[]
      /** Partials that it asks for, and those that it brings itself, for whatever it includes. */
      readonly partials: readonly Named[]
      readonly inline: readonly string[]
    }
  | { readonly kind: 'bad'; readonly errors: readonly FieldError[] }

const templateBytesMax = 1024 * 1024

/** Parses and compiles; runs nothing. */
export function readTemplate(path: string, bytes: Uint8Array): TemplateReading {
  if (bytes.byteLength > templateBytesMax) {
    const message = `${bytes.byteLength} bytes, at most ${templateBytesMax} are accepted of one template`
    return { kind: 'bad', errors: [{ path, message }] }
  }
  const finder = new Finder(path)
  try {
    const program = Handlebars.parse(Buffer.from(bytes).toString())
    finder.accept(program)
    Handlebars.precompile(program)
  } catch (error) {
    return { kind: 'bad', errors: [...finder.errors, mistakeOf(path, error as Mistake)] }
  }
  if (finder.errors.length > 0) return { kind: 'bad', errors: finder.errors }
  const { uses, partials, inline } = finder
  return { kind: 'good', uses, partials, inline }
}

interface Mistake extends Error {
  readonly lineNumber?: number
  readonly column?: number
}

/** The parser says in words what it did not expect; where that is, is where it stopped. */
function mistakeOf(path: string, error: Mistake): FieldError {
  const { message, lineNumber, column } = error
  if (lineNumber !== undefined && column !== undefined) {
    return { path, line: lineNumber, column: column + 1, message: message.replace(/ - \d+:\d+$/, '') }
  }
  const at = (Handlebars as unknown as { Parser: { lexer: { yylloc: Location } } }).Parser.lexer.yylloc
  const token = /, got '(\w+)'/.exec(message)?.[1]
  if (token === undefined) return { path, message: message.split('\n').join(' ') }
  return { path, line: at.first_line, column: at.first_column + 1, message: unexpected[token] ?? `unexpected ${token}` }
}

interface Location {
  readonly first_line: number
  readonly first_column: number
}

const unexpected: Readonly<Record<string, string>> = {
  EOF: 'the template ends, and a `{{…}}` or a block is still open',
  INVALID: 'what cannot stand in an expression',
  CLOSE: '`}}` comes too early',
  OPEN_ENDBLOCK: 'a block is closed that is not open',
  INVERSE: '`{{else}}` outside a block',
  OPEN_INVERSE_CHAIN: '`{{else …}}` outside a block',
}

/** What motherships register beside what is built in: `{{name …}}` of anything else fails wherever it is shown. */
export const helperNames: ReadonlySet<string> = new Set([
  ...['if', 'unless', 'each', 'with', 'lookup', 'log', 'helperMissing', 'blockHelperMissing'],
  ...['component', 'container', 'item', 't', 'nt', 'css', 'url', 'partial'],
  ...['number', 'percentage', 'currency', 'date', 'time', 'range'],
])

const childHelpers: ReadonlySet<string> = new Set(['component', 'container'])

class Finder extends Handlebars.Visitor {
  readonly uses: Use[] = []
  readonly errors: FieldError[] = []
  readonly partials: Named[] = []
  readonly inline: string[] = []
  readonly #blockParams = new Set<string>()

  constructor(private readonly path: string) {
    super()
  }

  override MustacheStatement(mustache: hbs.AST.MustacheStatement): void {
    this.#look(mustache)
    super.MustacheStatement(mustache)
  }

  override BlockStatement(block: hbs.AST.BlockStatement): void {
    this.#look(block)
    super.BlockStatement(block)
  }

  /** `{{#*inline "name"}}`: a partial that the template brings itself. */
  override DecoratorBlock(block: hbs.AST.DecoratorBlock): void {
    const name = block.params[0] && literal(block.params[0])
    if (name !== undefined) this.inline.push(name)
    super.DecoratorBlock(block)
  }

  override PartialStatement(partial: hbs.AST.PartialStatement): void {
    if ('original' in partial.name) this.partials.push({ name: String(partial.name.original), ...placeOf(partial) })
    super.PartialStatement(partial)
  }

  override SubExpression(expression: hbs.AST.SubExpression): void {
    this.#checkHelper(expression)
    super.SubExpression(expression)
  }

  /** Names of `as |name|` may be called like anything. */
  override Program(program: hbs.AST.Program): void {
    for (const name of program.blockParams ?? []) this.#blockParams.add(name)
    super.Program(program)
  }

  #checkHelper(node: hbs.AST.MustacheStatement | hbs.AST.BlockStatement | hbs.AST.SubExpression): void {
    if (node.params.length === 0 || node.path.type !== 'PathExpression') return
    const { original, parts, data, depth } = node.path as hbs.AST.PathExpression
    if (data || depth > 0 || parts.length !== 1 || original !== parts[0]) return
    if (helperNames.has(original) || this.#blockParams.has(original)) return
    this.errors.push({ path: this.path, ...placeOf(node), message: `there is no helper ${original}` })
  }

  #look(node: hbs.AST.MustacheStatement | hbs.AST.BlockStatement): void {
    this.#checkHelper(node)
    if (!('original' in node.path) || !childHelpers.has(String(node.path.original))) return
    const given = new Map(node.hash?.pairs.map(pair => [pair.key, literal(pair.value)]) ?? [])
    if (given.has('version') && !given.has('name')) {
      this.errors.push({ path: this.path, ...placeOf(node), message: 'a version without a name' })
      return
    }
    const [component, version, view] = ['name', 'version', 'view'].map(name => given.get(name))
    if (given.has('name') && component === undefined) {
      this.uses.push({ any: true, ...(view === undefined ? {} : { view }) })
      return
    }
    this.uses.push({
      ...(component === undefined ? {} : { component }),
      ...(version === undefined ? {} : { version }),
      ...(view === undefined ? {} : { view }),
    })
  }
}

const placeOf = ({ loc: { start } }: hbs.AST.Node): { line: number; column: number } => ({
  line: start.line,
  column: start.column + 1,
})

const literal = (value: hbs.AST.Expression): string | undefined =>
  value.type === 'StringLiteral' || value.type === 'NumberLiteral'
    ? String((value as hbs.AST.StringLiteral | hbs.AST.NumberLiteral).value)
    : undefined
