/**
 * A cloud as a local rain server sees it: what it wants of a rain server that is registered for as long as this runs,
 * and takes no visitors. Motherships let it in, because the cloud gives it tickets for them.
 */
import { hostname } from 'node:os'
import { CloudError } from '../../cloud/errors.js'
import type { Client } from '../../sdk/client.js'
import { NodeSession } from '../../sdk/node-session.js'

const tokenForMs = 24 * 3_600_000

export interface CloudLinkOptions {
  readonly client: Client
  /** Of its REST API. */
  readonly url: string
  readonly component: string
  /** Where the local pages are. */
  readonly address: string
  readonly onWanted: (entries: ReadonlyMap<string, unknown>) => void
  readonly onWord: (text: string) => void
}

export interface CloudLink {
  close(): Promise<void>
}

/** Throws what the cloud answers; `forbidden` with what is needed. */
export async function linkToCloud(options: CloudLinkOptions): Promise<CloudLink> {
  const { client, url, component, address, onWanted, onWord } = options
  const name = `dev-${hostname().replace(/[^\w-]/g, '-')}-${component}-${new URL(address).port}`
  const id = name.slice(0, 128)
  const path = `/rainservers/${encodeURIComponent(id)}`
  await client.request('DELETE', path).catch(unlessUnknown)
  const body = { id, address, urls: ['/*'], labels: { dev: component } }
  await client.request('POST', '/rainservers/', { body })
  // Before it has a session: the balancer sends nobody here.
  await client.request('PUT', path, { body: { draining: true } })
  const expires = new Date(Date.now() + tokenForMs).toISOString()
  const asked = { role: 'node', subject: `rain dev ${component}`, expires, node: { kind: 'rainserver', id } }
  const token = await client
    .request<{ id: string; token: string }>('POST', '/tokens', { body: asked })
    .catch(async (error: unknown) => {
      await client.request('DELETE', path).catch(unlessUnknown)
      if (!(error instanceof CloudError) || error.code !== 'forbidden') throw error
      throw new CloudError('forbidden', 'rain dev makes a credential for a local rain server: it needs an admin token')
    })
  const { items } = await client.get<{ items: { url: string }[] }>('/replicas')
  const session = new NodeSession({
    node: { kind: 'rainserver', id },
    hypervisors: [...new Set([...items.map(each => each.url), url])],
    token: token.token,
    hello: () => ({ address, urls: ['/*'], labels: { dev: component }, software: 'rain dev' }),
    onWanted: async state => {
      onWanted(state.entries)
      return []
    },
    onStatus: status => onWord(status === 'live' ? 'linked with the cloud' : `the cloud: ${status}`),
    log: { info: () => undefined, warn: () => undefined, error: (_fields, message) => onWord(message) },
  })
  session.start()
  return {
    close: async () => {
      await session.stop()
      await client.request('DELETE', path).catch(unlessUnknown)
      await client.request('DELETE', `/tokens/${token.id}`).catch(unlessUnknown)
    },
  }
}

function unlessUnknown(error: unknown): void {
  if (!(error instanceof CloudError) || error.code !== 'unknown-thing') throw error
}
