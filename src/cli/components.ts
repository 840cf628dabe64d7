/** Components as people name them: `id`, `id/version`, or a fragment of a version. */
import { CloudError } from '../cloud/errors.js'
import type { ComponentView } from '../hypervisor/views.js'
import type { Client } from '../sdk/client.js'

/** Path of a version. None means the newest active one; a fragment is left to the cloud. */
export async function pathOfComponent(client: Client, name: string): Promise<string> {
  const [, id = '', fragment] = /^([\w-]+)(?:\/([\d.]+))?$/.exec(name) ?? []
  if (id === '') throw new CloudError('bad-request', `${JSON.stringify(name)} is no component: give id or id/version`)
  const version = fragment ?? (await newest(client, id))
  return `/webcomponent/${encodeURIComponent(id)}/${encodeURIComponent(version)}`
}

async function newest(client: Client, id: string): Promise<string> {
  const { items } = await client.get<{ items: ComponentView[] }>('/webcomponent/all', { id, active: true, range: 1 })
  if (items[0]) return items[0].version
  throw new CloudError('unknown-thing', `there is no active version of ${id}: deploy one with \`rain deploy\``)
}
