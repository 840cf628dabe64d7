import { defineConfig } from 'vitest/config'
import { values } from './vitest.values.config.js'

export default defineConfig({
  test: {
    include: ['test/**/*.test.ts'],
    globalSetup: ['test/support/build.ts'],
    exclude: ['test/acceptance/**', 'test/cluster/**', 'test/firewall/**', 'test/faults/**', ...values],
    // Two cores: real etcd members, processes and browsers share them with the tests.
    maxWorkers: 2,
    testTimeout: 20_000,
    hookTimeout: 60_000,
  },
})
