/** Composition of a rain server. */
import type { RainServerConfig } from '../config.js'
import { startRainServer } from '../rain-server/rain-server.js'
import { startNode } from './node.js'
import type { Running } from './role.js'

export const runRainServer = (config: RainServerConfig): Promise<Running> =>
  startNode('server', config, startRainServer)
