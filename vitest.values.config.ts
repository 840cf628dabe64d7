import { defineConfig } from 'vitest/config'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/**
 * What is tested with values alone: nothing is opened that could be left open. So these files share processes, which
 * load the code once, and not once for each of them.
 */
export const values = [
  'test/cloud/**/*.test.ts',
  'test/contract/twin.test.ts',
  'test/hypervisor/!(carried|replica).test.ts',
  'test/linearizability/**/*.test.ts',
  'test/protocol/**/*.test.ts',
  'test/rain-server/{breaker,document,choose,encoding,fragment-cache,language,piece,race,route,shown}.test.ts',
  'test/sdk/{deadlines,proxy,together,way}.test.ts',
  'test/simulation/**/*.test.ts',
  'test/store/{blobs,decisions,election,keys,observations,presence,replica-map,requests,term,twin,values,wire}.test.ts',
]

/** The simulation takes longer than everything else together. */
class LongestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const isLong = ({ moduleId }: TestSpecification): boolean => moduleId.includes('/test/simulation/')
    const sorted = await super.sort(files)
    return [...sorted.filter(isLong), ...sorted.filter(each => !isLong(each))]
  }
}

export default defineConfig({
  test: {
    include: values,
    isolate: false,
    maxWorkers: 2,
    sequence: { sequencer: LongestFirst },
    testTimeout: 300_000,
  },
})
