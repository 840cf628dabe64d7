/** Secrets of a cloud on one machine: made once, kept in files that only their owner reads, never printed but one. */
import { createHash, randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { NodeKind } from '../../cloud/ids.js'
import type { Layout } from './layout.js'

export interface Secrets {
  readonly tokens: { readonly admin: string; readonly operator: string; readonly viewer: string }
  readonly peerSecretFile: string
  readonly bootstrapFile: string
  tokenFile(kind: NodeKind, id: string): string
}

const people = ['admin', 'operator', 'viewer'] as const

/** Those that are there stay as they are; what is missing is made. */
export function readSecrets(dataDir: string, layout: Layout): Secrets {
  const directory = join(dataDir, 'secrets')
  mkdirSync(directory, { recursive: true, mode: 0o700 })
  const file = (name: string): string => join(directory, name)
  const secret = (name: string): string => {
    const path = file(name)
    if (!existsSync(path)) writeFileSync(path, `rain_${randomBytes(32).toString('base64url')}\n`, { mode: 0o600 })
    return readFileSync(path, 'utf8').trim()
  }
  const [admin, operator, viewer] = people.map(role => secret(`${role}.token`)) as [string, string, string]
  secret('peers.secret')
  const nodes = nodesOf(layout)
  const records = [
    ...people.map(role => ({ id: digest(secret(`${role}.token`)), role, subject: role })),
    ...nodes.map(({ kind, id }) => ({
      id: digest(secret(`${kind}-${id}.token`)),
      role: 'node',
      subject: `${kind}/${id}`,
      node: { kind, id },
    })),
  ]
  writeFileSync(file('bootstrap.json'), `${JSON.stringify(records, null, 2)}\n`, { mode: 0o600 })
  return {
    tokens: { admin, operator, viewer },
    peerSecretFile: file('peers.secret'),
    bootstrapFile: file('bootstrap.json'),
    tokenFile: (kind, id) => file(`${kind}-${id}.token`),
  }
}

const digest = (text: string): string => createHash('sha256').update(text).digest('hex')

const nodesOf = ({ motherships, rainServers, balancer }: Layout): { kind: NodeKind; id: string }[] => [
  ...motherships.map(({ id }) => ({ kind: 'mothership' as const, id })),
  ...rainServers.map(({ id }) => ({ kind: 'rainserver' as const, id })),
  { kind: 'balancer', id: balancer.id },
]
