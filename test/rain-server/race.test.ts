import { describe, expect, it } from 'vitest'
import type { RenderAnswer, RenderRequest } from '../../src/rain-server/link.js'
import type { Links } from '../../src/rain-server/links.js'
import { Race, type RaceEnd } from '../../src/rain-server/race.js'
import { Deadlines } from '../../src/sdk/deadlines.js'
import { ManualClock } from '../support/manual-clock.js'

/** Two copies, of which each does with a request what it is told to. */
function started(): {
  clock: ManualClock
  asked: { mothership: string; deadlineMs: number; settle: (answer: RenderAnswer) => void }[]
  ends: RaceEnd[]
} {
  const clock = new ManualClock()
  const asked: { mothership: string; deadlineMs: number; settle: (answer: RenderAnswer) => void }[] = []
  const ends: RaceEnd[] = []
  const halves = new Deadlines<Race>(clock, race => race.hedge())
  const get = (mothership: string) => ({
    render: ({ deadlineMs }: RenderRequest, settle: (answer: RenderAnswer) => void) => {
      asked.push({ mothership, deadlineMs, settle })
      return { cancel: () => undefined }
    },
  })
  const copies = ['m1', 'm2'].map(mothership => ({ instance: 'i', mothership, epoch: 1 }))
  const request = { visit: {}, view: 'index', context: {} }
  const race = new Race(
    { copies, request, untilMs: clock.nowMs() + 1_000 } as never,
    {
      links: { get } as unknown as Links,
      clock,
      halves,
      onAnswer: () => undefined,
      accepts: () => true,
      shown: () => undefined,
    },
    end => ends.push(end),
  )
  race.start()
  return { clock, asked, ends }
}

const late: RenderAnswer = { kind: 'failed', status: 504, reason: 'no answer', unanswered: false }

describe('a fragment that is raced for', () => {
  it('is asked of the next copy when half of the time is over, with the time that is left', async () => {
    const { clock, asked } = started()
    await clock.advance(499)
    expect(asked.map(each => [each.mothership, each.deadlineMs])).toEqual([['m1', 1_000]])
    await clock.advance(1)
    expect(asked.map(each => [each.mothership, each.deadlineMs])).toEqual([
      ['m1', 1_000],
      ['m2', 500],
    ])
  })

  it('is asked of nobody when this process stood still until no time is left', async () => {
    const { clock, asked, ends } = started()
    clock.standStill(1_200)
    await clock.advance(0)
    expect(asked.map(each => each.mothership)).toEqual(['m1'])
    asked[0]!.settle(late)
    expect(asked).toHaveLength(1)
    expect(ends).toEqual([{ kind: 'failed', status: 504, reason: 'no answer' }])
  })
})
