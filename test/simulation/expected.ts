/**
 * What a thousand runs have to meet: every kind of fault, and every rare branch of the product that one of them leads
 * to. One that is never met is not tried, whatever the checkers say.
 */
import { faultNames } from './faults.js'

const branches = [
  'ambiguous write landed',
  'ambiguous write sent-again',
  'ambiguous write superseded',
  'ambiguous write unknown',
  'answer replayed',
  'bulk call resumed',
  'candidature failed',
  'client sends again',
  'instances moved unasked',
  'leader key not deleted',
  'change of state sent again',
  'copies: a learner less',
  'copies: a learner more',
  'copies: admitted',
  'copies: begun elsewhere',
  'copies: dropped',
  'copies: learns again',
  'copies: promoted',
  'copies: registered',
  'copies: renewed',
  'node leaves',
  'node moves',
  'old term of its own ended',
  'presence not renewed',
  'refused by the queue of a term that ended',
  'refused by who does not lead',
  'request record found',
  'answer of a turn found',
  'resync by compaction',
  'rollout aborted',
  'rollout done',
  'rollout paused',
  'rollout resumed',
  'rollout returned',
  'session put again',
  'state changed',
  'state lost for good',
  'state read at a copy',
  'state read at the primary',
  'stopped in order',
  'takeover',
  'term ended: another replica leads',
  'term ended: etcd does not answer',
  'term ended: resigned',
  'term ended: the leader key is gone',
  'term ended: the lease is gone',
  'term ended: the lease may have run out',
  'term won',
  'undeployed in order',
  'watch reopened',
]
const fates = ['late', 'refused', 'reply-lost', 'request-lost', 'twice'].map(each => `transaction ${each}`)
const answers = ['conflict', 'no-leader', 'no-room', 'state timeout', 'store-unavailable', 'timeout', 'unknown-thing']

export const expected: readonly string[] = [
  ...[
    ...faultNames,
    ...fates,
    'crash amid a bulk call',
    'message late',
    'message lost',
    'request sent twice',
    'torn write',
  ].map(each => `fault: ${each}`),
  ...branches.map(each => `branch: ${each}`),
  ...answers.map(each => `answer: ${each}`),
]

/** From so many runs on, what is not met is a failure. */
export const enoughRuns = 1_000
