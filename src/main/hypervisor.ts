/** Composition of a hypervisor replica. */
import { createApi } from '../api/server.js'
import { settingsOf } from '../cloud/decide/verdict.js'
import type { CloudMap } from '../cloud/map.js'
import { questionsOf } from '../cloud/settings.js'
import type { HypervisorConfig } from '../config.js'
import { attachGateway } from '../gateway/gateway.js'
import { AppliedBook } from '../hypervisor/applied.js'
import { LoadBook } from '../hypervisor/loads.js'
import type { Log } from '../hypervisor/ports.js'
import { Replica } from '../hypervisor/replica.js'
import { TicketOffice } from '../hypervisor/tickets.js'
import { wantedFor } from '../hypervisor/wanted.js'
import { WeightBook } from '../hypervisor/weights.js'
import { PrometheusLoads } from '../metrics/prometheus-loads.js'
import { createReplicaMetrics } from '../metrics/replica.js'
import { attachPeers } from '../peers/peers.js'
import { connectEtcd } from '../store/connect.js'
import { openStore } from '../store/store.js'
import { readBootstrap } from './bootstrap.js'
import { listenError } from './listen.js'
import { createLog } from './log.js'
import { pageAt } from './page-routes.js'
import type { Running } from './role.js'
import type { Software } from './software.js'
import { refuseOtherUpgrades } from './upgrades.js'
import { systemChance as chance, systemClock as clock } from './world.js'

const leaveMs = 400
const drainMs = 5_000

export async function startHypervisor(config: HypervisorConfig, software: Software): Promise<Running> {
  const log = createLog('hypervisor', config.id, config.logLevel)
  const bootstrap = readBootstrap(config.bootstrap)
  const metrics = createReplicaMetrics({ id: config.id, software: software.name })
  const auth = config.etcdAuth === undefined ? {} : { auth: config.etcdAuth }
  const etcd = await connectEtcd(config.etcd, { clock, chance, log, events: metrics.store, ...auth })
  const self = { schema: 1, id: config.id, url: config.url, incarnation: config.incarnation, software: software.name }
  const { cluster, leaderTtlMs, presenceTtlMs } = config
  const events = metrics.store
  const store = await openStore({
    etcd,
    cluster,
    replica: self,
    leaderTtlMs,
    presenceTtlMs,
    clock,
    chance,
    log,
    events,
  })
  const loads = new LoadBook(
    clock,
    () => settingsOf(store.maps.map).load,
    () => settingsOf(store.maps.map).rebalance,
    (version, mothership) => store.maps.map.tallyOf(version).copies.get(mothership) ?? 0,
  )
  const applied = new AppliedBook()
  const replica = new Replica({ ...store, loads, applied, clock, chance, log, bootstrap })
  metrics.watch(replica)
  const prometheus = openPrometheus(config, { replica, loads, metrics, log })
  const closeStore = async (): Promise<void> => {
    prometheus?.close()
    await replica.stop()
    await store.close()
    await etcd.close()
  }
  try {
    const closeEdges = await openEdges(config, { replica, self, loads, applied, metrics, log, software, prometheus })
    return {
      says: `hypervisor ${config.id} serves ${config.url}`,
      broken: replica.broken,
      stop: async () => {
        await replica.stop()
        await store.presence.leave()
        // The balancer learns of it by its own session: what it still sends here meanwhile is served.
        if (replica.maps.map.count('sessions') > 0) await new Promise(resolve => clock.after(leaveMs, () => resolve(0)))
        await closeEdges()
        await closeStore()
      },
    }
  } catch (error) {
    await closeStore()
    throw error
  }
}

interface Parts {
  readonly replica: Replica
  readonly self: Parameters<typeof attachPeers>[0]['self']
  readonly loads: LoadBook
  readonly applied: AppliedBook
  readonly metrics: ReturnType<typeof createReplicaMetrics>
  readonly log: Log
  readonly software: Software
  readonly prometheus: PrometheusAsked | undefined
}

type PrometheusAsked = Pick<PrometheusLoads, 'state' | 'close'>

/** Every replica asks, not the leader alone: explanations and dry runs rest on the same load then, and so does a new leader. */
function openPrometheus(
  { prometheus: url, prometheusToken: token }: HypervisorConfig,
  { replica, loads, metrics, log }: Pick<Parts, 'replica' | 'loads' | 'metrics' | 'log'>,
): PrometheusAsked | undefined {
  if (url === undefined) return undefined
  const { maps } = replica
  const prometheus = new PrometheusLoads({
    url,
    ...(token === undefined ? {} : { token }),
    clock,
    log,
    settings: () => questionsOf(settingsOf(maps.map)),
    staleMs: () => settingsOf(maps.map).load.staleMs,
    motherships: () => connectedMotherships(maps.map),
    note: (id, load, ageMs) => loads.noteTold({ kind: 'mothership', id }, load, ageMs),
    forget: () => loads.forgetTold(),
    onRound: metrics.onPrometheus,
  })
  prometheus.start()
  const unsubscribe = maps.onChange(changes => {
    if (changes.some(each => each.kind === 'settings')) prometheus.reconsider()
  })
  return {
    get state() {
      return prometheus.state
    },
    close: () => {
      unsubscribe()
      prometheus.close()
    },
  }
}

function* connectedMotherships(map: CloudMap): Iterable<string> {
  for (const [id] of map.all('motherships')) if (map.get('sessions', `mothership/${id}`)) yield id
}

/** REST, nodes' sessions and links on one listener. Resolves with what closes them. */
async function openEdges(config: HypervisorConfig, parts: Parts): Promise<() => Promise<void>> {
  const { replica, self, loads, applied, metrics, log, prometheus } = parts
  const book = new WeightBook(replica.maps, loads, clock)
  const weights = (): Readonly<Record<string, number>> => book.weights()
  const api = createApi({
    hypervisor: replica,
    weights,
    pageAt: pageAt(replica.maps.map),
    clock,
    chance,
    log,
    software: parts.software.version,
    privateMetrics: config.privateMetrics,
    metrics: metrics.registry,
    onRequest: metrics.onRequest,
    polls: () => gateway.polls,
    ...(prometheus ? { prometheus: () => prometheus.state } : {}),
  })
  await api.ready()
  const { server } = api
  refuseOtherUpgrades(server)
  const tickets = new TicketOffice(replica.maps.map, () => clock.wallMs())
  const wanted: Parameters<typeof attachGateway>[0]['wanted'] = node => wantedFor(replica.maps.map, node, tickets.issue)
  const peers = attachPeers({
    server,
    hypervisor: replica,
    self,
    secret: config.peerSecret,
    loads,
    applied,
    clock,
    chance,
    log,
  })
  const gateway = attachGateway({
    server,
    hypervisor: replica,
    wanted,
    fresherElsewhere: () => peers.someFresh(),
    weights,
    loads,
    applied,
    clock,
    chance,
    log,
  })
  const close = async (): Promise<void> => {
    const closing = api.close()
    await gateway.close()
    // Calls that came in are carried to the leader over the links: these go last.
    await api.drained(drainMs)
    await peers.close()
    await closing
  }
  try {
    await api.listen({ host: config.host, port: config.port })
  } catch (error) {
    await close()
    throw listenError(error, config.host, config.port)
  }
  replica.start(peers)
  log.info({ url: config.url }, 'serves')
  return close
}
