/** What a component has in a visitor's session, and what it changes there. Without schemas: components' processes load it. */
export type SessionData = Record<string, unknown>

export interface SessionChange {
  /** First of all, everything goes. */
  cleared?: boolean
  set: SessionData
  removed: string[]
  /** The visitor's language from now on, for all components. */
  language?: string
}

/** Of one component, as JSON. */
export const sessionBytesMax = 2_000

export function changed(data: SessionData, { cleared, set, removed }: SessionChange): SessionData {
  const kept = Object.entries(cleared === true ? {} : data).filter(([key]) => !removed.includes(key))
  return Object.fromEntries([...kept, ...Object.entries(set)])
}
