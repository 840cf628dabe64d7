/** A change is made once for each id: as long as its answer is remembered, and never by guessing afterwards. */
import { describe, expect, it } from 'vitest'
import { Copy } from '../../../src/cloud/replication/copy.js'
import { limits } from '../../../src/cloud/replication/entry.js'
import { History } from '../../../src/cloud/replication/history.js'
import type { CopyMessage } from '../../../src/cloud/replication/messages.js'
import type { Proposed } from '../../../src/cloud/replication/outcomes.js'

function primary(sent: CopyMessage[] = [], history = new History(), committed = 0): Copy {
  const recovered = { journal: 'j', epoch: 0, history, committed }
  const copy = new Copy('m1', recovered, {
    send: (_, message) => void sent.push(message),
    write: (_, done) => done(),
    changed() {},
    soon: run => run(),
  })
  copy.adopt({ epoch: 1, primary: 'm1', inSync: ['m1'], learners: [], journals: { m1: 'j' }, inSyncMin: 1 }, 0)
  return copy
}

function propose(copy: Copy, id: string, earliest: number, digest = '?'): Proposed {
  let found: Proposed | undefined
  const body = JSON.stringify({ id, patches: [{ op: 'add', path: ['last'], value: id }], reply: `"${id}"` })
  copy.propose({ digest, earliest }, body, 0, outcome => {
    found = outcome
  })
  return found!
}

/** As code does it: on what the primary has now. */
function make(copy: Copy, id: string): Proposed {
  const found = propose(copy, id, copy.tail)
  return found.kind === 'conflict' ? propose(copy, id, copy.tail, found.at.digest) : found
}

describe('a change that is asked for again', () => {
  it('is answered as it was first, while its answer is remembered', () => {
    const copy = primary()
    const first = make(copy, 'a')
    for (let n = 0; n < limits.replies - 1; n++) make(copy, `other ${n}`)
    expect(propose(copy, 'a', 0)).toEqual(first)
    expect(first).toMatchObject({ kind: 'committed', seq: 1, reply: '"a"' })
  })

  it('is not made when it may have been made so long ago that nobody remembers', () => {
    const copy = primary()
    make(copy, 'a')
    for (let n = 0; n < limits.replies + 5; n++) make(copy, `other ${n}`)
    const before = copy.tail
    expect(propose(copy, 'a', 0).kind).toBe('unknown')
    // On what is there now, too: the attempt of which nothing is known was made before.
    const now = propose(copy, 'b', copy.tail)
    expect(propose(copy, 'a', 0, now.kind === 'conflict' ? now.at.digest : '').kind).toBe('unknown')
    expect(copy.tail).toBe(before)
    // What was tried first after all that is forgotten was certainly not made.
    expect(propose(copy, 'c', copy.tail - 10).kind).toBe('conflict')
  })

  it('is not made by a copy that got the state from another one, either', () => {
    const sent: CopyMessage[] = []
    const copy = primary(sent)
    make(copy, 'a')
    for (let n = 0; n < limits.replies + 5; n++) make(copy, `other ${n}`)
    const history = historyOf(copy, sent)
    const next = primary([], history, history.tail.seq)
    expect(propose(next, 'a', 0).kind).toBe('unknown')
    expect(propose(next, 'other 100', 0)).toMatchObject({ kind: 'committed', reply: '"other 100"' })
    expect(propose(next, 'new', next.tail).kind).toBe('conflict')
  })
})

/** What a learner is sent. */
function historyOf(copy: Copy, sent: readonly CopyMessage[]): History {
  const learners = ['m2']
  copy.adopt({ epoch: 2, primary: 'm1', inSync: ['m1'], learners, journals: { m1: 'j' }, inSyncMin: 1 }, 0)
  copy.link('m2', true, 0)
  copy.on('m2', { k: 'join', epoch: 2, journal: 'x', committed: { seq: 0, digest: '' }, tail: 0, anew: true }, 0)
  const state = sent.find(each => each.k === 'state')
  if (state?.k !== 'state') throw new Error(`no state, but ${sent.map(each => each.k).join(', ')}`)
  return History.from(state.at, state.state)
}
