/** Links that lead nowhere. */
import type { Peers } from '../../src/hypervisor/ports.js'

export const noPeers: Peers = {
  forward: () => Promise.reject(new Error('no links here')),
  linked: () => [],
  hears: () => false,
  lostForMs: () => undefined,
  onLinks: () => () => undefined,
  agrees: () => Promise.resolve(false),
  yield: () => undefined,
}
