/** HAProxy's configuration, compared with files that a reader can read; HAProxy itself says whether it takes them. */
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { renderExactMap, renderPrefixMap } from '../../src/balancer/maps.js'
import { renderConfig } from '../../src/balancer/render.js'
import { shapeOf, type WantedTargets } from '../../src/balancer/shape.js'
import { isUrlPattern } from '../../src/cloud/commands.js'
import { sampleFrame as frame, haproxyTakes } from '../support/haproxy.js'

const server = (id: string, host: string, urls: readonly string[], draining = false) => ({
  id,
  host,
  port: 7050,
  draining,
  urls,
})
const replicas = [
  { id: 'h1', host: '127.0.0.1', port: 7010, draining: false },
  { id: 'h2', host: 'localhost', port: 7011, draining: false },
]

const clouds: Readonly<Record<string, WantedTargets>> = {
  empty: { servers: [], replicas },
  patterns: {
    servers: [
      server('r1', '127.0.0.1', ['/*']),
      server('r2', '127.0.0.2', ['/shop/*', '/news/today'], true),
      server('r3', '::1', ['/shop/*', '/shop']),
    ],
    replicas,
  },
}
const weights = new Map([['r3', 42]])

describe('the configuration of HAProxy', () => {
  for (const [name, cloud] of Object.entries(clouds)) {
    const shape = shapeOf(cloud, 4, undefined, weights)

    it(`is as in golden/${name}.cfg, and HAProxy takes it without a warning`, async () => {
      await expect(renderConfig(shape, frame)).toMatchFileSnapshot(`golden/${name}.cfg`)
      await expect(renderExactMap(shape)).toMatchFileSnapshot(`golden/${name}.paths.map`)
      await expect(renderPrefixMap(shape)).toMatchFileSnapshot(`golden/${name}.prefixes.map`)
      expect(() => haproxyTakes(shape)).not.toThrow()
    })
  }

  it('quotes what is not one word', () => {
    expect(renderConfig(shapeOf(clouds['empty']!, 4), { ...frame, directory: '/a b/"c"' })).toContain(
      'map_str("\\"/a b/\\\\\\"c\\\\\\"/paths.map\\"")',
    )
  })

  it('has nothing in it of a name but on its own line', () => {
    const cloud = { servers: [server('r1\n    bind :9\r# "x', '127.0.0.1', ['/*'])], replicas }
    expect(renderConfig(shapeOf(cloud, 4), frame)).toContain(' check # r1?????bind?:9????x\n')
  })

  it('is taken by HAProxy whatever the cloud is made of', () => {
    const host = fc.oneof(
      fc.ipV4(),
      fc.ipV6().filter(each => !each.includes('.')),
      fc.constant('localhost'),
    )
    const urls = fc.array(
      fc
        .string({ minLength: 1, maxLength: 12, unit: 'grapheme' })
        .map(each => `/${each}`)
        .filter(isUrlPattern),
      { maxLength: 5 },
    )
    const place = { host, port: fc.integer({ min: 1, max: 65_535 }), draining: fc.boolean() }
    const id = fc.stringMatching(/^[A-Za-z0-9][\w.-]{0,20}$/)
    const targets = fc.record({
      servers: fc.uniqueArray(fc.record({ id, urls, ...place }), { maxLength: 8, selector: each => each.id }),
      replicas: fc.uniqueArray(fc.record({ id, ...place }), { maxLength: 4, selector: each => each.id }),
    })
    fc.assert(
      fc.property(targets, fc.integer({ min: 1, max: 256 }), (cloud, weight) => {
        haproxyTakes(shapeOf(cloud, 2, undefined, new Map(cloud.servers.map(each => [each.id, weight]))))
      }),
      { numRuns: 40 },
    )
  }, 60_000)
})
