/** Composition of a node: its role, its metrics, its log. */
import type { Chance, Clock, Log } from '../hypervisor/ports.js'
import { type MetricsListener, type MetricsSource, serveMetrics } from '../metrics/listener.js'
import { listenError } from './listen.js'
import { createLog } from './log.js'
import type { Running } from './role.js'
import type { Software } from './software.js'
import { systemChance, systemClock } from './world.js'

interface NodeConfig {
  readonly id: string
  readonly host: string
  readonly port: number
  readonly metricsPort: number
  readonly logLevel: string
  readonly address: string
}

interface Node {
  readonly registry: MetricsSource
  readonly broken?: Promise<never>
  stop(): Promise<void>
}

interface Deps {
  readonly log: Log
  readonly clock: Clock
  readonly chance: Chance
  readonly software: string
}

export async function startNode<C extends NodeConfig>(
  role: string,
  config: C,
  software: Software,
  start: (config: C, deps: Deps) => Promise<Node>,
): Promise<Running> {
  const log = createLog(role, config.id, config.logLevel)
  const node = await start(config, { log, clock: systemClock, chance: systemChance, software: software.name }).catch(
    (error: unknown) => {
      throw listenError(error, config.host, config.port)
    },
  )
  let metrics: MetricsListener
  try {
    metrics = await serveMetrics({ host: config.host, port: config.metricsPort, registry: node.registry })
  } catch (error) {
    await node.stop()
    throw error
  }
  return {
    says: `${role} ${config.id} at ${config.address}`,
    ...(node.broken ? { broken: node.broken } : {}),
    stop: async () => {
      await node.stop()
      await metrics.close()
    },
  }
}
