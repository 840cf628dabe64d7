/** What the store tells to whoever counts: all optional, none may throw. */
import type { FailureKind } from './etcd.js'

export interface StoreEvents {
  onCall?(method: string, outcome: 'ok' | FailureKind, ms: number): void
  onMove?(from: string, to: string, reason: string): void
  /** The watch was opened anew, and why. */
  onReopen?(reason: string): void
  /** The map was read anew as a whole, and why. */
  onResync?(reason: string): void
  /** A value in etcd that does not match its schema is left out of the map. */
  onUnreadable?(key: string, reason: string): void
  onCommit?(changes: number, requests: number, ms: number): void
  /** The outcome of a transaction was unknown and had to be looked up. */
  onAmbiguous?(resolved: 'landed' | 'sent-again' | 'superseded' | 'unknown'): void
  onTerm?(event: 'won' | 'ended', reason: string): void
}
