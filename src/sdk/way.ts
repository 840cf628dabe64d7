/**
 * Which way a node takes to the replicas: websockets, or polling where a firewall or proxy breaks them (N5). A wrong
 * guess costs little, since either way carries the same session, so the first sign is enough; and whoever polls tries
 * websockets again, ever more rarely. Time and chance are arguments.
 *
 * Y1 As long as one of the two ways works, it is tried at least with every second attempt.
 * Y2 A websocket that is welcome but never lives long is tried ever more rarely, at last once in five minutes.
 */
export type Way = 'websocket' | 'polling'

export interface Ways {
  /** For the next session. */
  readonly way: Way
  /** Websockets that died young, one after the other. */
  readonly deaths: number
  /** How often websockets were given up since one of them lived long. */
  readonly setbacks: number
  /** While polling: when to try a websocket beside. */
  readonly probeAtMs: number
}

/**
 * How a connection ended. `nobody`: nothing listens there, which says nothing of the way. `blocked`: it was cut, left
 * hanging or answered by somebody else before it was welcome. `died`: it was welcome, and ended without a word.
 * `ended`: the replica said why.
 */
export type Fate = 'nobody' | 'blocked' | 'died' | 'ended'

export interface Ending {
  readonly fate: Fate
  /** How long it was welcome. */
  readonly liveMs: number
}

/** A websocket of this age has shown that the way is good. */
export const longLifeMs = 60_000
const deathsMax = 2
const probeFirstMs = 5_000
export const probeMostMs = 300_000

export const firstWays: Ways = { way: 'websocket', deaths: 0, setbacks: 0, probeAtMs: 0 }

export function afterEnding(ways: Ways, { fate, liveMs }: Ending, nowMs: number, chance: number): Ways {
  if (ways.way === 'polling') return fate === 'blocked' ? { ...ways, way: 'websocket', deaths: 0 } : ways
  const known: Ways = liveMs >= longLifeMs ? { ...ways, deaths: 0, setbacks: 0 } : ways
  switch (fate) {
    case 'nobody':
    case 'ended':
      return known
    case 'blocked':
      return polling(known, nowMs, chance)
    case 'died': {
      if (liveMs >= longLifeMs) return known
      const deaths = known.deaths + 1
      // Once given up, it is on probation.
      return deaths >= deathsMax || known.setbacks > 0 ? polling(known, nowMs, chance) : { ...known, deaths }
    }
  }
}

/** The websocket beside the polls is welcome, or came to nothing. */
export function afterProbe(ways: Ways, welcome: boolean, nowMs: number, chance: number): Ways {
  return welcome ? { ...ways, way: 'websocket', deaths: 0 } : polling(ways, nowMs, chance)
}

function polling(ways: Ways, nowMs: number, chance: number): Ways {
  const setbacks = ways.setbacks + 1
  const mostMs = Math.min(probeMostMs, probeFirstMs * 2 ** Math.min(setbacks - 1, 20))
  return { way: 'polling', deaths: 0, setbacks, probeAtMs: nowMs + mostMs * (0.5 + chance / 2) }
}
