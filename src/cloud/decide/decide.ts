/** From a command to its verdict: the one table of what each command means. */
import type { Command } from '../commands.js'
import { unreachable } from '../errors.js'
import type { CloudMap } from '../map.js'
import { activate, deploy } from './components.js'
import { force } from './force.js'
import { clone, instantiate, refreshInstance, refreshVersion } from './instances.js'
import {
  announceMothership,
  announceRainServer,
  registerMothership,
  registerRainServer,
  unregisterMothership,
  unregisterRainServer,
  updateMothership,
  updateRainServer,
} from './nodes.js'
import { dropPackage } from './packages.js'
import { createToken, putSettings, revokeToken } from './platform.js'
import { rebalance } from './rebalance.js'
import { undeploy } from './removals.js'
import { rollback } from './rollback.js'
import { startRollout, steerRollout } from './rollouts.js'
import { stopInstance } from './stops.js'
import type { Context, Verdict } from './verdict.js'

export function decide(map: CloudMap, command: Command, context: Context): Verdict {
  switch (command.op) {
    case 'register-rainserver':
      return registerRainServer(map, command.body, context)
    case 'update-rainserver':
      return updateRainServer(map, command.body)
    case 'unregister-rainserver':
      return unregisterRainServer(map, command.body)
    case 'register-mothership':
      return registerMothership(map, command.body, context)
    case 'update-mothership':
      return updateMothership(map, command.body, context)
    case 'unregister-mothership':
      return unregisterMothership(map, command.body, context)
    case 'announce-rainserver':
      return announceRainServer(map, command.body, context)
    case 'announce-mothership':
      return announceMothership(map, command.body, context)
    case 'deploy':
      return deploy(map, command.body, context)
    case 'activate':
      return activate(map, command.body, context)
    case 'rollback':
      return rollback(map, command.body, context)
    case 'drop-package':
      return dropPackage(map, command.body)
    case 'instantiate':
      return instantiate(map, command.body, context)
    case 'clone':
      return clone(map, command.body, context)
    case 'force':
      return force(map, command.body)
    case 'refresh-version':
      return refreshVersion(map, command.body, context)
    case 'refresh-instance':
      return refreshInstance(map, command.body, context)
    case 'start-rollout':
      return startRollout(map, command.body, context)
    case 'steer-rollout':
      return steerRollout(map, command.body, context)
    case 'stop-instance':
      return stopInstance(map, command.body, context)
    case 'undeploy':
      return undeploy(map, command.body, context)
    case 'rebalance':
      return rebalance(map, command.body, context)
    case 'put-settings':
      return putSettings(map, command.body)
    case 'create-token':
      return createToken(map, command.body, context)
    case 'revoke-token':
      return revokeToken(map, command.body)
    default:
      return unreachable(command)
  }
}
