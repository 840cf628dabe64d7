/** Composition of a mothership. */
import type { MothershipConfig } from '../config.js'
import { startMothership } from '../mothership/mothership.js'
import { startNode } from './node.js'
import type { Running } from './role.js'
import type { Software } from './software.js'

/** `workerPath`: the built program that runs components. */
export const runMothership = (config: MothershipConfig, software: Software, workerPath: string): Promise<Running> =>
  startNode('mothership', config, software, (given, deps) => startMothership(given, { ...deps, workerPath }))
