/** Composition of a rain server. */
import type { RainServerConfig } from '../config.js'
import { startRainServer } from '../rain-server/rain-server.js'
import { startNode } from './node.js'
import type { Running } from './role.js'
import type { Software } from './software.js'

export const runRainServer = (config: RainServerConfig, software: Software): Promise<Running> =>
  startNode('server', config, software, startRainServer)
