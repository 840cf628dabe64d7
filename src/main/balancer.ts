/** Composition of a balancer agent. */

import { startBalancer } from '../balancer/agent.js'
import type { BalancerConfig } from '../config.js'
import { startNode } from './node.js'
import type { Running } from './role.js'

export const runBalancer = (config: BalancerConfig): Promise<Running> => startNode('balancer', config, startBalancer)
