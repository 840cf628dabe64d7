/** Composition of a balancer agent. */

import { startBalancer } from '../balancer/agent.js'
import type { BalancerConfig } from '../config.js'
import { startNode } from './node.js'
import type { Running } from './role.js'
import type { Software } from './software.js'

export const runBalancer = (config: BalancerConfig, software: Software): Promise<Running> =>
  startNode('balancer', config, software, startBalancer)
