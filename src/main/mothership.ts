/** Composition of a mothership. */
import type { MothershipConfig } from '../config.js'
import { startMothership } from '../mothership/mothership.js'
import { startNode } from './node.js'
import type { Running } from './role.js'

export const runMothership = (config: MothershipConfig): Promise<Running> =>
  startNode('mothership', config, startMothership)
