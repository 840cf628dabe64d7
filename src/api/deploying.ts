/** A package on its way into the cloud: looked at, stored, registered. */
import type { Answer } from '../cloud/commands.js'
import { componentOf } from '../cloud/component/package.js'
import { otherDigest } from '../cloud/decide/components.js'
import { CloudError } from '../cloud/errors.js'
import { Gate } from './gate.js'
import type { ReadPackage } from './package-readings.js'
import { type ApiPorts, submit, submitWithinMs } from './route.js'

type SubmitCall = Parameters<typeof submit>[1]
type Component = ReturnType<typeof componentOf>

const storedAgainMax = 3
/** Who comes later sees what became of those before, and stores nothing for nothing. */
const atOnce = 8

interface Deploying {
  readonly read: ReadPackage
  readonly bytes: Uint8Array
  readonly activate: boolean
}

export interface Deployed {
  readonly component: Component
  readonly answer: Answer
}

export class Deploys {
  readonly #gate = new Gate(atOnce, 'packages are being deployed')

  constructor(private readonly ports: ApiPorts) {}

  deploy(call: SubmitCall, what: Deploying): Promise<Deployed> {
    return this.#gate.pass(() => deploy(this.ports, call, what))
  }
}

/**
 * Stores the package, then registers it. Another one may be dropping the same bytes meanwhile; then they are stored
 * again. What is stored for nothing is dropped at once.
 */
async function deploy(ports: ApiPorts, call: SubmitCall, { read, bytes, activate }: Deploying): Promise<Deployed> {
  const { maps, blobs } = ports.hypervisor
  const { descriptor, digest } = read
  const known = otherDigest(maps.map, { id: descriptor.id, version: descriptor.version, digest })
  if (known) throw known
  for (let tries = 1; ; tries++) {
    const component = componentOf(read, await blobs.put(digest, bytes))
    try {
      return { component, answer: await submit(ports, call, { op: 'deploy', body: { component, activate } }) }
    } catch (error) {
      const code = error instanceof CloudError ? error.code : undefined
      if (code === 'chunks-gone' && tries < storedAgainMax) continue
      if (code === 'conflict' || code === 'over-budget') await dropStored(ports, call, component)
      throw error
    }
  }
}

/** The leader finds it later where this fails. */
async function dropStored(
  { hypervisor, chance, log }: ApiPorts,
  { actor }: SubmitCall,
  { digest, chunks }: Component,
): Promise<void> {
  const command = { op: 'drop-package', body: { digest, chunks } } as const
  const envelope = { requestId: chance.id(32), fresh: true, actor, command }
  await hypervisor.submit(envelope, submitWithinMs).catch((error: unknown) => {
    log.warn({ err: error, digest }, 'a package that was stored for nothing could not be removed')
  })
}
