/** Deploys the sample application: its components, then the instances that it asks for. */
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { CloudError } from '../../cloud/errors.js'
import type { ComponentView } from '../../hypervisor/views.js'
import type { Client } from '../../sdk/client.js'
import { packageBytes } from '../pack.js'

interface Sample {
  readonly components: readonly { readonly dir: string; readonly instances: number }[]
  /** Path of the page to look at first. */
  readonly page: string
}

/** Doing it again changes nothing: what is there stays. Resolves with the page's path. */
export async function deploySample(client: Client, directory: string): Promise<string> {
  const sample = JSON.parse(readFileSync(join(directory, 'sample.json'), 'utf8')) as Sample
  const deployed = await Promise.all(
    sample.components.map(async ({ dir, instances }) => {
      const component = await keptOrDeployed(client, join(directory, dir))
      return { component, missing: component.active ? instances - component.instances.total : 0 }
    }),
  )
  await Promise.all(
    deployed
      .filter(each => each.missing > 0)
      .map(({ component: { id, version }, missing }) =>
        patiently(key =>
          client.request('POST', `/webcomponent/${id}/${version}`, {
            body: {},
            query: { count: missing, wait: 'running' },
            headers: { 'idempotency-key': key },
          }),
        ),
      ),
  )
  return sample.page
}

/** A version that was deployed from other files stays what it is: a version never changes, and the cloud goes on with it. */
async function keptOrDeployed(client: Client, directory: string): Promise<ComponentView> {
  try {
    const bytes = await packageBytes(directory)
    return await patiently(() => client.deploy<ComponentView>(bytes))
  } catch (error) {
    if (!(error instanceof CloudError && error.code === 'conflict')) throw error
    const meta = JSON.parse(readFileSync(join(directory, 'meta.json'), 'utf8')) as { id: string; version: string }
    const known = await client.get<ComponentView>(`/webcomponent/${meta.id}/${meta.version}`).catch(() => undefined)
    if (known) return known
    throw error
  }
}

const triesMax = 20
const againMs = 250
const passing: ReadonlySet<string> = new Set(['no-leader', 'busy', 'timeout', 'store-unavailable'])

/** A cloud that has just begun may change its leader once more. The same key makes sending again harmless. */
async function patiently<V>(send: (key: string) => Promise<V>): Promise<V> {
  const key = randomUUID()
  for (let tries = 1; ; tries++) {
    try {
      return await send(key)
    } catch (error) {
      if (!(error instanceof CloudError) || !passing.has(error.code) || tries >= triesMax) throw error
      await new Promise(resolve => setTimeout(resolve, againMs))
    }
  }
}
