/** A copy that takes over: with the old primary as long as that is there, and not a moment longer without it. */
import { describe, expect, it } from 'vitest'
import type { Configuration } from '../../../src/cloud/replication/configuration.js'
import { Copy } from '../../../src/cloud/replication/copy.js'
import { History } from '../../../src/cloud/replication/history.js'
import type { CopyMessage } from '../../../src/cloud/replication/messages.js'

const journals = { m1: 'j1', m2: 'j2' }

/** A backup of m1, in sync, to which m1 is connected. */
function backup(): { readonly copy: Copy; readonly sent: CopyMessage[] } {
  const sent: CopyMessage[] = []
  const recovered = { journal: 'j2', epoch: 0, history: new History(), committed: 0 }
  const copy = new Copy('m2', recovered, {
    send: (_, message) => void sent.push(message),
    write: (_, done) => done(),
    changed() {},
    soon: run => run(),
  })
  copy.adopt(led(1, 'm1'), 0)
  copy.link('m1', true, 0)
  return { copy, sent }
}

const led = (epoch: number, primary: string, inSync = ['m1', 'm2']): Configuration => ({
  epoch,
  primary,
  inSync,
  learners: [],
  journals,
  inSyncMin: 1,
})

describe('a copy that takes over', () => {
  it('asks at once to go on without an old primary that is not connected, and serves when it may', () => {
    const { copy } = backup()
    copy.link('m1', false, 10)
    copy.adopt(led(2, 'm2'), 20)
    expect(copy.report()).toMatchObject({ drop: ['m1'] })
    expect(copy.leads).toBe(false)
    copy.adopt(led(3, 'm2', ['m2']), 40)
    expect(copy.leads).toBe(true)
  })

  it('gives one that is connected a moment to say that it is there', () => {
    const { copy, sent } = backup()
    copy.adopt(led(2, 'm2'), 20)
    copy.tick(100)
    expect(copy.report()?.drop).toBeUndefined()
    copy.tick(120)
    expect(copy.report()).toMatchObject({ drop: ['m1'] })
    copy.on('m1', { k: 'join', epoch: 2, journal: 'j1', committed: { seq: 0, digest: '' }, tail: 0 }, 130)
    copy.on('m1', { k: 'ack', epoch: 2, seq: 0 }, 131)
    copy.tick(220)
    expect(sent.map(each => each.k)).toContain('append')
    expect(copy.report()?.drop).toBeUndefined()
    expect(copy.leads).toBe(true)
  })

  it('gives a backup that was one before the time that it has in every epoch', () => {
    const { copy } = backup()
    copy.adopt(led(2, 'm2'), 20)
    copy.adopt(led(3, 'm2'), 30)
    copy.link('m1', false, 40)
    copy.tick(300)
    expect(copy.report()?.drop).toBeUndefined()
    copy.tick(330)
    expect(copy.report()).toMatchObject({ drop: ['m1'] })
  })
})
