import { expect, it } from 'vitest'
import type { Step } from '../../src/cloud/decide/verdict.js'
import type { CloudMap } from '../../src/cloud/map.js'
import { put } from '../../src/cloud/records.js'
import { Collector } from '../../src/hypervisor/collector.js'
import { mapOf } from '../support/clouds.js'
import { TestLog } from '../support/logs.js'
import { ManualClock } from '../support/manual-clock.js'
import { aComponent } from '../support/records.js'

const digest = (letter: string): string => `sha256:${letter.repeat(64)}`

it('removes stored packages that nothing refers to when it has seen them before, and what is needed by then stays', async () => {
  const clock = new ManualClock()
  const map = mapOf(put('components', 'news/1.0.0', aComponent('news')))
  const later = mapOf(put('components', 'news/1.0.0', aComponent('news', '1.0', { digest: digest('c') })))
  const stored = new Map([digest('a'), digest('b'), digest('c')].map(each => [each, 2]))
  const proposed: ((map: CloudMap) => Step[])[] = []
  const blobs = { put: () => Promise.reject(), get: () => Promise.reject(), list: () => Promise.resolve(stored) }
  const collector = new Collector(
    { blobs, maps: { map }, clock, log: new TestLog() },
    steps => void proposed.push(steps),
  )
  collector.start()
  await clock.advance(60_000)
  expect(proposed).toEqual([])
  stored.set(digest('d'), 1)
  await clock.advance(600_000)
  expect(proposed).toHaveLength(1)

  const dropped = (of: CloudMap): unknown => proposed[0]!(of).map(each => each.dropsBlobs)
  expect(dropped(map)).toEqual(['b', 'c'].map(each => ({ digest: digest(each), chunks: 2 })))
  expect(dropped(later)).toEqual([{ digest: digest('b'), chunks: 2 }])
  collector.stop()
  await clock.advance(1_200_000)
  expect(proposed).toHaveLength(1)
})
