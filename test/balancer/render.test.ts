/** HAProxy's configuration, compared with files that a reader can read; HAProxy itself says whether it takes them. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { type Frame, renderConfig, renderExactMap, renderPrefixMap } from '../../src/balancer/render.js'
import { type Shape, shapeOf, type WantedTargets } from '../../src/balancer/shape.js'

const directory = mkdtempSync(join(tmpdir(), 'rain-render-'))
afterAll(() => rmSync(directory, { recursive: true, force: true }))

const frame: Frame = {
  host: '127.0.0.1',
  pagesPort: 7000,
  apiPort: 7001,
  socket: '/run/rain/haproxy.sock',
  directory: '/run/rain',
  cookieKey: 'rain',
}
const server = (id: string, host: string, urls: readonly string[], draining = false) => ({
  id,
  host,
  port: 7050,
  draining,
  urls,
})
const replicas = [
  { id: 'h1', host: '127.0.0.1', port: 7010, draining: false },
  { id: 'h2', host: 'hypervisor-2.example', port: 7010, draining: false },
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

function accepts(shape: Shape): void {
  const own = { ...frame, socket: join(directory, 'haproxy.sock'), directory }
  writeFileSync(join(directory, 'paths.map'), renderExactMap(shape))
  writeFileSync(join(directory, 'prefixes.map'), renderPrefixMap(shape))
  writeFileSync(join(directory, 'haproxy.cfg'), renderConfig(shape, own))
  // Throws with what HAProxy says when it refuses.
  execFileSync('haproxy', ['-c', '-f', join(directory, 'haproxy.cfg')], { stdio: 'pipe' })
}

describe('the configuration of HAProxy', () => {
  for (const [name, cloud] of Object.entries(clouds)) {
    const shape = shapeOf(cloud, 4)

    it(`is as in golden/${name}.cfg`, async () => {
      await expect(renderConfig(shape, frame)).toMatchFileSnapshot(`golden/${name}.cfg`)
      await expect(renderExactMap(shape)).toMatchFileSnapshot(`golden/${name}.paths.map`)
      await expect(renderPrefixMap(shape)).toMatchFileSnapshot(`golden/${name}.prefixes.map`)
    })

    it(`is taken by HAProxy: ${name}`, () => {
      expect(() => accepts(shape)).not.toThrow()
    })
  }

  it('quotes what is not one word', () => {
    expect(renderConfig(shapeOf(clouds['empty']!, 4), { ...frame, directory: '/a b/"c"' })).toContain(
      'map_str("\\"/a b/\\\\\\"c\\\\\\"/paths.map\\"")',
    )
  })
})
