import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { layoutOf, portsOf, portsTaken, type Sizes } from '../../src/cli/up/layout.js'
import { etcdProcesses, nodeProcesses, replicaProcesses } from '../../src/cli/up/processes.js'

const largest: Sizes = { etcd: 5, replicas: 9, motherships: 20, rainServers: 20, portBase: 7000 }
const usual: Sizes = { etcd: 3, replicas: 3, motherships: 3, rainServers: 4, portBase: 7000 }

describe('the layout of a cloud on one machine', () => {
  it('gives every listener a port of its own, within what a cloud may take, for the largest sizes too', () => {
    const ports = portsOf(layoutOf(largest))
    expect(new Set(ports).size).toBe(ports.length)
    expect(ports.length).toBe(4 + 5 * 2 + 9 + 40 * 2)
    for (const port of ports) {
      expect(port).toBeGreaterThanOrEqual(7000)
      expect(port).toBeLessThan(7000 + portsTaken)
    }
  })

  it('has pages at the base and REST at the next port', () => {
    const { pages, api } = layoutOf(usual)
    expect([pages, api]).toEqual(['http://127.0.0.1:7000', 'http://127.0.0.1:7001'])
  })
})

describe('the processes of a cloud', () => {
  const layout = layoutOf(usual)
  const secrets = {
    tokens: { admin: 'top-secret', operator: 'o', viewer: 'v' },
    peerSecretFile: '/data/secrets/peers.secret',
    bootstrapFile: '/data/secrets/bootstrap.json',
    tokenFile: (kind: string, id: string) => `/data/secrets/${kind}-${id}.token`,
  }
  const commands = { node: 'node', rain: '/rain/main.js' }
  const all = [
    ...etcdProcesses(layout, '/data'),
    ...replicaProcesses(layout, secrets, commands),
    ...nodeProcesses(layout, secrets, '/data', commands),
  ]
  const flag = (args: readonly string[], name: string): string | undefined => args[args.indexOf(`--${name}`) + 1]

  it('are told secrets by files only, never by arguments', () => {
    expect(all.flatMap(each => each.args).filter(each => each.includes('top-secret'))).toEqual([])
    for (const { name, args } of all.filter(each => /^(mothership|rainserver|balancer)/.test(each.name))) {
      expect([name, flag(args, 'token-file')]).toEqual([name, `/data/secrets/${name}.token`])
    }
  })

  it('name the data directory in their arguments, so that what is left of them can be told from others', () => {
    expect(all.filter(each => !each.args.some(arg => arg.includes('/data/'))).map(each => each.name)).toEqual([])
  })

  it('run replicas as the program does that is called by its name', () => {
    const { args } = all.find(each => each.name === 'hypervisor-h1')!
    const [first] = readFileSync(join(import.meta.dirname, '..', '..', 'src', 'main.ts'), 'utf8').split('\n')
    expect(first).toBe(`#!/usr/bin/env -S node ${args.slice(0, args.indexOf(commands.rain)).join(' ')}`)
  })

  it('know all members and all replicas', () => {
    const hypervisor = all.find(each => each.name === 'hypervisor-h2')!
    expect(flag(hypervisor.args, 'etcd')).toBe('http://127.0.0.1:7120,http://127.0.0.1:7122,http://127.0.0.1:7124')
    const server = all.find(each => each.name === 'rainserver-r4')!
    expect(flag(server.args, 'hypervisor')).toBe('http://127.0.0.1:7010,http://127.0.0.1:7011,http://127.0.0.1:7012')
  })
})
