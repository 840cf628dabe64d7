/** Everything of kept state on a mothership: its copies, their journals on the disk, their links to the other ones. */
import type { IncomingMessage } from 'node:http'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import type { Chance, Clock, Log } from '../../hypervisor/ports.js'
import type { WantedInstance, WantedPeer } from '../../protocol/messages.js'
import type { TicketKey } from '../../protocol/ticket.js'
import type { ProxySettings } from '../../sdk/proxy.js'
import type { CopyHere } from '../instances.js'
import type { Ask, AskOutcome } from './asks.js'
import { CopyLinks } from './copy-links.js'
import { Journals } from './journals.js'
import { Keeper, type Kept } from './keeper.js'
import { askWithinMs } from './patience.js'

export interface KeptStateOptions {
  readonly self: string
  /** Of the mothership; the journals are in `state/` below. */
  readonly dataDir: string
  readonly clock: Clock
  readonly chance: Chance
  readonly log: Log
  readonly keys: () => readonly TicketKey[]
  /** For links to other motherships; absent: directly. */
  readonly proxy?: ProxySettings
  /** What is told of that instance's copy may have changed. */
  changed(instance: string): void
}

export class KeptState {
  readonly #keeper: Keeper
  readonly #links: CopyLinks

  private constructor(
    options: KeptStateOptions,
    private readonly journals: Journals,
  ) {
    const { self, clock, chance, log, keys, proxy } = options
    this.#links = new CopyLinks({
      self,
      clock,
      chance,
      log,
      keys,
      ...(proxy ? { proxy } : {}),
      onLink: (mothership, up) => this.#keeper.link(mothership, up),
      onCarried: (from, instance, carried) => this.#keeper.on(from, instance, carried),
    })
    this.#keeper = new Keeper({
      self,
      clock,
      open: (...args) => journals.open(...args),
      discard: (instance, since) =>
        journals.discard(instance, since).catch((error: Error) => {
          log.warn({ instance, err: error }, 'a journal that is wanted no more stays where it is')
        }),
      send: (to, instance, carried) => this.#links.send(to, instance, carried),
      changed: options.changed,
    })
  }

  /** Throws `misconfigured` when the directory cannot be used, or another process uses it. */
  static async open(options: KeptStateOptions): Promise<KeptState> {
    const { dataDir, clock, chance, log } = options
    return new KeptState(options, await Journals.start({ directory: join(dataDir, 'state'), clock, chance, log }))
  }

  /** All that is wanted here. */
  apply(wanted: ReadonlyMap<string, WantedInstance>, peers: readonly WantedPeer[]): void {
    const kept = new Map<string, Kept>()
    for (const [id, { epoch, since = 0, kept: configuration }] of wanted) {
      if (configuration) kept.set(id, { since, configuration: { epoch, ...configuration } })
    }
    this.#links.apply(peers)
    this.#keeper.apply(kept)
  }

  /** What was wanted when this mothership ran last, and is no more, is set aside; as the hypervisor says it. */
  async tidy(wanted: ReadonlyMap<string, WantedInstance>): Promise<void> {
    const kept = [...wanted].filter(([, each]) => each.kept)
    await this.journals.keepOnly(kept.map(([instance, { since = 0 }]) => ({ instance, since })))
  }

  copy(instance: string): CopyHere | undefined {
    return {
      serves: this.#keeper.serves(instance),
      problem: this.#keeper.problem(instance),
      report: this.#keeper.report(instance),
    }
  }

  /** A link of another mothership. */
  accept(request: IncomingMessage, socket: Duplex, head: Buffer): void {
    this.#links.accept(request, socket, head)
  }

  async answer({ instance, what }: Ask): Promise<AskOutcome> {
    if (what.kind === 'propose') {
      const outcome = await this.#keeper.propose(instance, what.base, what.body, askWithinMs)
      return outcome.kind === 'elsewhere' ? { kind: 'unknown', reason: 'no primary copy answered' } : outcome
    }
    const { staleMsMax = Number.POSITIVE_INFINITY, seqMin = 0 } = what
    const read = await this.#keeper.read(instance, staleMsMax, askWithinMs, seqMin)
    return 'kind' in read ? read : { kind: 'read', ...read }
  }

  /** After what uses it has ended. */
  async close(): Promise<void> {
    await this.#keeper.close()
    this.#links.close()
    this.journals.close()
  }
}
