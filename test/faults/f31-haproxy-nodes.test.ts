/** F31, the part of nodes: the HAProxy that they reached the hypervisor by is killed. They know the replicas themselves by then. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { freePorts, waitUntil } from '../support/etcd.js'
import { WalledCloud } from '../support/walled-cloud.js'
import { titled, whyNoProgram } from './support/capabilities.js'
import { nowMs } from './support/clients.js'
import { TestProcess } from './support/processes.js'
import { ms, report } from './support/rows.js'

const configuration = (port: number, replica: URL): string => `
defaults
  mode http
  timeout connect 1s
  timeout client 65s
  timeout server 65s
  timeout tunnel 1h
listen hypervisor
  bind 127.0.0.1:${port}
  server h1 ${replica.host} check inter 500
`

const whyNot = whyNoProgram('haproxy')

describe.skipIf(whyNot !== undefined)(titled('F31, HAProxy killed', whyNot), () => {
  it('sends nodes to the replicas themselves within 5 s', async () => {
    const directory = mkdtempSync(join(tmpdir(), 'rain-f31-'))
    const [port] = await freePorts(1)
    const cloud = await WalledCloud.start(['mothership/m1', 'rainserver/r1'], url => Promise.resolve(url))
    const file = join(directory, 'haproxy.cfg')
    writeFileSync(file, configuration(port!, new URL(cloud.url)))
    const command = ['haproxy', '-db', '-f', file]
    const haproxy = new TestProcess({ name: 'haproxy', command, logFile: join(directory, 'haproxy.log') })
    try {
      haproxy.start()
      const through = { hypervisor: `http://127.0.0.1:${port}` }
      await cloud.startNode({ kind: 'mothership', id: 'm1', flags: through })
      await cloud.startNode({ kind: 'rainserver', id: 'r1', flags: through })
      await cloud.showsNew('before')
      const lives = (id: string): number => cloud.logOf(id).split('session is live').length - 1
      const had = { m1: lives('m1'), r1: lives('r1') }
      const fromMs = nowMs()
      await haproxy.end('SIGKILL')
      await waitUntil('both have another session', () => lives('m1') > had.m1 && lives('r1') > had.r1, 30_000)
      const backMs = nowMs() - fromMs
      await cloud.showsNew('after')
      const ok = backMs <= 5_000
      report({
        id: 'F31',
        fault: 'HAProxy killed, nodes',
        figure: `all back by the direct urls after ${ms(backMs)}`,
        bar: '<= 5 s',
        ok,
        n: 2,
      })
      expect.soft(backMs).toBeLessThanOrEqual(5_000)
    } finally {
      await cloud.close()
      await haproxy.end()
      rmSync(directory, { recursive: true, force: true })
    }
  })
})
