import { describe, expect, it } from 'vitest'
import { Silence, type Turn, type Verdict } from '../../src/mothership/silence.js'

const everyMs = 250

/** Looks until it is called stalled, at most 100; each look sees what the function says of that look. */
function looksUntilStalled(turn: (look: number) => Turn | undefined, silence = new Silence(everyMs)): number {
  for (let look = 1; look <= 100; look++) {
    const verdict: Verdict = silence.look(() => turn(look))
    if (verdict === 'stalled') return look
  }
  return Number.POSITIVE_INFINITY
}

describe('a process that does not answer', () => {
  it.each<[string, (look: number) => Turn | undefined]>([
    ['runs in an endless loop', look => ({ cpuMs: look * 240, runnable: true })],
    ['has a third of a processor for its endless loop', look => ({ cpuMs: look * 80, runnable: true })],
    ['waits for what never comes', () => ({ cpuMs: 10, runnable: false })],
    ['is one of which the kernel does not tell', () => undefined],
  ])('and %s has stalled after six looks', (_name, turn) => {
    expect(looksUntilStalled(turn)).toBe(7)
  })

  it('and hardly gets a processor is given more time, but not for ever', () => {
    expect(looksUntilStalled(look => ({ cpuMs: look * 5, runnable: true }))).toBe(25)
  })

  it('is called busy before it has stalled, whatever the reason', () => {
    const silence = new Silence(everyMs)
    const looks: boolean[] = []
    for (let look = 1; look <= 6; look++) {
      silence.look(() => ({ cpuMs: look, runnable: true }))
      looks.push(silence.busy)
    }
    expect(looks).toEqual([false, false, false, false, true, true])
    silence.heard()
    expect(silence.busy).toBe(false)
  })

  it('begins anew with each word', () => {
    const silence = new Silence(everyMs)
    const loop = (look: number): Turn => ({ cpuMs: look * 240, runnable: true })
    for (let look = 1; look <= 5; look++) silence.look(() => loop(look))
    silence.heard()
    expect(looksUntilStalled(loop, silence)).toBe(7)
  })
})
