import { expect, it } from 'vitest'
import { defaultSettings, merged, questionsOf } from '../../src/cloud/settings.js'

it('asks Prometheus for the percentile and the window of bandwidth that are set', () => {
  const load = { bandwidthPercentile: 0.9, bandwidthWindowMs: 120_000 }
  const asked = questionsOf(merged(defaultSettings, { load, prometheus: { cpu: 'max_over_time(c[$window])' } }))
  expect(asked).toEqual({
    ...defaultSettings.prometheus,
    cpu: 'max_over_time(c[120000ms])',
    bandwidth: 'quantile_over_time(0.9, rain_mothership_load{resource="bandwidth"}[120000ms])',
  })
})
