/** Lists by pages: `start` and `range`, and the address of the next page. */
import type { FastifyRequest } from 'fastify'
import { formatOrder, type Order } from '../cloud/order.js'
import type { ListQuery } from './schemas.js'

const rangeDefault = 100

export interface Page<V> {
  items: V[]
  total: number
  start: number
  range: number
  revision: string
  next?: string
}

/** Renders the items of the page only; one that went meanwhile is left out. */
export function pageOf<K, V>(
  keys: readonly K[],
  { start = 0, range = rangeDefault }: ListQuery,
  render: (key: K) => V | undefined,
  order: Order,
  request: FastifyRequest,
): Page<V> {
  const items = keys.slice(start, start + range).flatMap(key => render(key) ?? [])
  const more = start + range < keys.length
  return {
    items,
    total: keys.length,
    start,
    range,
    revision: formatOrder(order),
    ...(more ? { next: nextOf(request, start + range, range) } : {}),
  }
}

function nextOf(request: FastifyRequest, start: number, range: number): string {
  const url = new URL(request.url, 'http://rain')
  for (const name of ['block', 'after', 'minRevision']) url.searchParams.delete(name)
  url.searchParams.set('start', String(start))
  url.searchParams.set('range', String(range))
  return url.pathname + url.search
}
