#!/usr/bin/env -S node --max-semi-space-size=64
/** The composition root: the one program `rain`, whose commands are the roles and the operator's verbs. */
import { fileURLToPath } from 'node:url'
import { runProgram } from './cli/program.js'
import { type Flags, readConfig } from './config.js'
import { oneLine, runUntilSignal } from './main/role.js'
import { readSoftware } from './main/software.js'
import { withSystemDirectories } from './main/world.js'
import { renderPrometheusConfig } from './metrics/prometheus-config.js'

process.on('uncaughtException', error => {
  process.stderr.write(`rain: ${error.stack ?? oneLine(error)}\n`)
  process.exit(70)
})

process.env['PATH'] = withSystemDirectories(process.env['PATH'])

// The one place that knows where files are, in the sources as in what is built of them.
const software = readSoftware(new URL('../package.json', import.meta.url))
const worker = fileURLToPath(new URL('./mothership/worker.js', import.meta.url))

const deps = {
  version: software.version,
  environment: process.env,
  program: fileURLToPath(import.meta.url),
  sample: fileURLToPath(new URL('../deploy/sample', import.meta.url)),
  renderPrometheusConfig,
  // Each role loads its own rooms only: a mothership needs no etcd, and help needs none of them.
  roles: {
    hypervisor: async (flags: Flags) => {
      const { startHypervisor } = await import('./main/hypervisor.js')
      return runUntilSignal(() => startHypervisor(readConfig('hypervisor', flags, process.env), software))
    },
    mothership: async (flags: Flags) => {
      const { runMothership } = await import('./main/mothership.js')
      return runUntilSignal(() => runMothership(readConfig('mothership', flags, process.env), software, worker))
    },
    server: async (flags: Flags) => {
      const { runRainServer } = await import('./main/rain-server.js')
      return runUntilSignal(() => runRainServer(readConfig('server', flags, process.env), software))
    },
    balancer: async (flags: Flags) => {
      const { runBalancer } = await import('./main/balancer.js')
      return runUntilSignal(() => runBalancer(readConfig('balancer', flags, process.env), software))
    },
  },
}

runProgram(process.argv.slice(2), deps).then(
  code => process.exit(code),
  error => {
    process.stderr.write(`rain: ${oneLine(error)}\n`)
    process.exit(1)
  },
)
