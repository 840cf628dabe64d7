/**
 * The template helpers that name other views. `{{component}}` leaves a place for a child. With a block, which containers
 * take, what stands in the block is rendered here and goes to the child with the order for it; views that the block
 * names are guests of the child: each is put where its token ends up in the child's html.
 */
import { randomBytes } from 'node:crypto'
import Handlebars from 'handlebars'
import type { Descriptor } from '../cloud/component/descriptor.js'
import type { Block, ViewRequest } from '../protocol/messages.js'
import { plain, type Rendering, renderingOf } from './helpers.js'
import { marker } from './markers.js'

type Order = Omit<ViewRequest, 'at'>

/** Of one view, those within its blocks included. */
const childrenMax = 200

export function registerChildHelpers(handlebars: typeof Handlebars, descriptor: Descriptor): void {
  const helper = childHelper(descriptor)
  // RAIN's templates use either name for either.
  handlebars.registerHelper('component', helper)
  handlebars.registerHelper('container', function (this: unknown, ...args: unknown[]) {
    const { hash, fn } = args.at(-1) as Handlebars.HelperOptions
    const own = (fn as unknown) === undefined && Object.keys(hash).length === 0
    return own ? ((this as Record<string, unknown> | null)?.['container'] ?? '') : helper.call(this, args.at(-1))
  })
  handlebars.registerHelper('item', itemHelper)
}

/** `{{component name="…" version="…" view="…" …}}`, `{{#container name="…" view="…" …}}…{{/container}}`. */
const childHelper = (descriptor: Descriptor): Handlebars.HelperDelegate =>
  function (this: unknown, ...args: unknown[]) {
    const options = args.at(-1) as Handlebars.HelperOptions
    const rendering = renderingOf(options)
    if (rendering.children.length + rendering.guests.length >= childrenMax) {
      throw new Error(`more than ${childrenMax} children`)
    }
    // Only a block has something to render.
    const order = orderOf(descriptor, options.hash as Record<string, unknown>)
    const child = (options.fn as unknown) === undefined ? order : withBlock(order, this, options, rendering)
    const place = marker(rendering.nonce, rendering.children.push(child) - 1)
    const name = Handlebars.escapeExpression(child.component)
    return new Handlebars.SafeString(`<div id="${child.id}" data-rain-component="${name}">${place}</div>`)
  }

function orderOf({ id, version: own }: Descriptor, hash: Record<string, unknown>): Order {
  const { name, version: asked, view, sid, placeholder, required, ...context } = hash
  if (asked !== undefined && name === undefined) throw new Error('a child with a version and no name')
  const version = name === undefined ? own : asked
  return {
    id: `v${randomBytes(8).toString('hex')}`,
    component: name === undefined ? id : String(name),
    view: view === undefined ? 'index' : String(view),
    context: plain(context),
    ...(version === undefined ? {} : { version: String(version) }),
    ...(sid === undefined ? {} : { sid: String(sid) }),
    ...(placeholder === undefined ? {} : { placeholder: placeholder === true }),
    ...(required === undefined ? {} : { required: required === true }),
  }
}

function withBlock(order: Order, context: unknown, options: Handlebars.HelperOptions, outer: Rendering): Order {
  const items: Record<string, unknown>[] = []
  const inner: Rendering = { ...outer, nonce: randomBytes(16).toString('hex'), children: [], items }
  const data = Handlebars.createFrame(options.data as object) as { rain: Rendering }
  data.rain = inner
  const content = options.fn(context, { data })
  for (const [index, child] of inner.children.entries()) {
    outer.guests.push({ ...child, host: order.id, token: marker(inner.nonce, index) })
  }
  return { ...order, block: { content, items } }
}

/** `{{#item row="0"}}…{{/item}}`: for a container that puts each to a place of its own. */
const itemHelper: Handlebars.HelperDelegate = function (this: unknown, options: Handlebars.HelperOptions) {
  // `{{item}}` without a block shows what the context has under that name.
  if ((options.fn as unknown) === undefined) return (this as Record<string, unknown> | null)?.['item'] ?? ''
  const { items } = renderingOf(options)
  if (!items) throw new Error('{{#item}} stands in no container')
  items.push({ ...plain(options.hash), content: options.fn(this) })
  return ''
}

/** What a container starts with: its context, and the block. */
export const contextWith = (
  context: Readonly<Record<string, unknown>>,
  block: Block | undefined,
): Readonly<Record<string, unknown>> =>
  block ? { ...context, content: block.content, ...(block.items.length > 0 ? { items: block.items } : {}) } : context

/** What the container's own children have no use for. */
export function contextWithout(context: Record<string, unknown>, block: Block | undefined): Record<string, unknown> {
  if (!block) return context
  const { content: _content, items: _items, ...rest } = context
  return rest
}

/** The html of a block is shown as it is, wherever the code has put it; nothing else that looks like html is. */
export function trusting(value: unknown, block: Block | undefined): unknown {
  if (!block) return value
  const htmls = new Set([block.content, ...block.items.map(each => each['content'])])
  htmls.delete('')
  const walk = (each: unknown): unknown => {
    if (typeof each === 'string') return htmls.has(each) ? new Handlebars.SafeString(each) : each
    if (Array.isArray(each)) return each.map(walk)
    if (typeof each !== 'object' || each === null) return each
    return Object.fromEntries(Object.entries(each).map(([name, inner]) => [name, walk(inner)]))
  }
  return walk(value)
}
