#!/usr/bin/env node
/** The composition root: the one program `rain`, whose commands are the roles and the operator's verbs. */
import { fileURLToPath } from 'node:url'
import { runProgram } from './cli/program.js'
import { type Flags, readConfig } from './config.js'
import { startHypervisor } from './main/hypervisor.js'
import { runBalancer, runMothership, runRainServer } from './main/nodes.js'
import { oneLine, runUntilSignal } from './main/role.js'
import { softwareVersion } from './main/software.js'
import { renderPrometheusConfig } from './metrics/prometheus-config.js'

process.on('uncaughtException', error => {
  process.stderr.write(`rain: ${error.stack ?? oneLine(error)}\n`)
  process.exit(70)
})

const deps = {
  version: softwareVersion,
  environment: process.env,
  program: fileURLToPath(import.meta.url),
  sample: fileURLToPath(new URL('../deploy/sample', import.meta.url)),
  renderPrometheusConfig,
  roles: {
    hypervisor: (flags: Flags) => runUntilSignal(() => startHypervisor(readConfig('hypervisor', flags, process.env))),
    mothership: (flags: Flags) => runUntilSignal(() => runMothership(readConfig('mothership', flags, process.env))),
    server: (flags: Flags) => runUntilSignal(() => runRainServer(readConfig('server', flags, process.env))),
    balancer: (flags: Flags) => runUntilSignal(() => runBalancer(readConfig('balancer', flags, process.env))),
  },
}

runProgram(process.argv.slice(2), deps).then(
  code => process.exit(code),
  error => {
    process.stderr.write(`rain: ${oneLine(error)}\n`)
    process.exit(1)
  },
)
