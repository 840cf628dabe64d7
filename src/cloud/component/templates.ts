/**
 * Templates as far as placement, wiring and validation need them: which children a view names by the `component`
 * helper, and whether the template can be parsed at all. What only run time shows (a name from the context) is not here.
 */
import Handlebars from 'handlebars'
import type { FieldError } from '../errors.js'
import type { ComponentRecord } from '../records.js'

export type Use = ComponentRecord['views'][number]['uses'][number]

export type TemplateReading =
  | {
      readonly kind: 'good'
      readonly uses: readonly Use[]
      /** Partials that it asks for, and those that it brings itself, for whatever it includes. */
      readonly partials: readonly string[]
      readonly inline: readonly string[]
    }
  | { readonly kind: 'bad'; readonly errors: readonly FieldError[] }

export function readTemplate(path: string, text: string): TemplateReading {
  let program: hbs.AST.Program
  try {
    program = Handlebars.parse(text)
  } catch (error) {
    return { kind: 'bad', errors: [{ path, message: (error as Error).message.split('\n').join(' ') }] }
  }
  const finder = new Finder(path)
  finder.accept(program)
  if (finder.errors.length > 0) return { kind: 'bad', errors: finder.errors }
  const { uses, partials, inline } = finder
  return { kind: 'good', uses, partials, inline }
}

class Finder extends Handlebars.Visitor {
  readonly uses: Use[] = []
  readonly errors: FieldError[] = []
  readonly partials: string[] = []
  readonly inline: string[] = []

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
    if ('original' in partial.name) this.partials.push(String(partial.name.original))
    super.PartialStatement(partial)
  }

  #look(node: hbs.AST.MustacheStatement | hbs.AST.BlockStatement): void {
    if (!('original' in node.path) || node.path.original !== 'component') return
    const given = new Map(node.hash?.pairs.map(pair => [pair.key, literal(pair.value)]) ?? [])
    const at = `line ${node.loc.start.line}, column ${node.loc.start.column + 1}`
    if (given.has('version') && !given.has('name')) {
      this.errors.push({ path: this.path, message: `${at}: a version without a name` })
      return
    }
    const [component, version, view] = ['name', 'version', 'view'].map(name => given.get(name))
    if (given.has('name') && component === undefined) return
    this.uses.push({
      ...(component === undefined ? {} : { component }),
      ...(version === undefined ? {} : { version }),
      ...(view === undefined ? {} : { view }),
    })
  }
}

const literal = (value: hbs.AST.Expression): string | undefined =>
  value.type === 'StringLiteral' || value.type === 'NumberLiteral'
    ? String((value as hbs.AST.StringLiteral | hbs.AST.NumberLiteral).value)
    : undefined
