/** What every test needs that renders a configuration: HAProxy's own word on it. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { exactMapFile, prefixMapFile, renderExactMap, renderPrefixMap } from '../../src/balancer/maps.js'
import { type Frame, renderConfig } from '../../src/balancer/render.js'
import type { Shape } from '../../src/balancer/shape.js'

export const sampleFrame: Frame = {
  host: '127.0.0.1',
  pagesPort: 7000,
  apiPort: 7001,
  socket: '/run/rain/haproxy.sock',
  metricsSocket: '/run/rain/metrics.sock',
  directory: '/run/rain',
  cookieKey: 'rain',
}

/** Throws with what HAProxy says when it refuses, or only warns. */
export function haproxyTakes(shape: Shape): void {
  const directory = mkdtempSync(join(tmpdir(), 'rain-render-'))
  const at = (name: string): string => join(directory, name)
  const frame = { ...sampleFrame, socket: at('haproxy.sock'), metricsSocket: at('metrics.sock'), directory }
  try {
    writeFileSync(at(exactMapFile), renderExactMap(shape))
    writeFileSync(at(prefixMapFile), renderPrefixMap(shape))
    writeFileSync(at('haproxy.cfg'), renderConfig(shape, frame))
    execFileSync('haproxy', ['-c', '-dW', '-f', at('haproxy.cfg')], { stdio: 'pipe' })
  } finally {
    rmSync(directory, { recursive: true, force: true })
  }
}
