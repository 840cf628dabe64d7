import { defineConfig } from 'vitest/config'

/** Whole clouds of real processes: one file after the other, because each fills the machine. */
export default defineConfig({
  test: {
    include: ['test/acceptance/**/*.test.ts', 'test/cluster/**/*.test.ts', 'test/firewall/**/*.test.ts'],
    fileParallelism: false,
    testTimeout: 60_000,
    hookTimeout: 120_000,
  },
})
