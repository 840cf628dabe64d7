/** Deploys the sample application: its components, then the instances that it asks for. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
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
      const component = await client.deploy<ComponentView>(await packageBytes(join(directory, dir)))
      return { component, missing: instances - component.instances.total }
    }),
  )
  await Promise.all(
    deployed
      .filter(each => each.missing > 0)
      .map(({ component: { id, version }, missing }) =>
        client.request('POST', `/webcomponent/${id}/${version}`, {
          body: {},
          query: { count: missing, wait: 'running' },
        }),
      ),
  )
  return sample.page
}
