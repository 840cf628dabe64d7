/**
 * Starts all of them and compares their pages with what they must be, byte for byte: `node bench/peers/check.mjs`.
 * Fragments take 50 ms; pages come sooner than half of them would one after the other.
 */
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { fragmentHtml, fragmentsMax } from './fragment.mjs'
import { installOnce } from './install.mjs'
import { pageOf } from './page.mjs'

const timerMs = 50
const startMsMax = 60_000
const here = file => fileURLToPath(new URL(file, import.meta.url))
const url = port => `http://127.0.0.1:${port}`
const running = []

installOnce()
const ports = await freePorts(6)
const [layoutPort, registryPort, pagePort, ...podletPorts] = ports
try {
  await Promise.all(podletPorts.map(port => started('podium-podlets.mjs', port, timerMs)))
  await started('podium-layout.mjs', layoutPort, podletPorts.map(url).join(','))
  await started('oc-registry.mjs', registryPort, timerMs, here('.oc'))
  await started('oc-page.mjs', pagePort, url(registryPort))
  await rightPages('Podium', layoutPort)
  await rightPages('OpenComponents', pagePort)
  await Promise.all(running.map(ended))
} finally {
  for (const { child } of running) child.kill('SIGKILL')
}

/** A program, once it has said that it serves. */
async function started(program, ...args) {
  const child = spawn(process.execPath, [here(program), ...args.map(String)], { stdio: ['ignore', 'pipe', 'inherit'] })
  running.push({ program, child })
  const deadline = setTimeout(() => child.kill('SIGKILL'), startMsMax)
  let serves = false
  for await (const line of createInterface({ input: child.stdout })) {
    serves = line === 'ready'
    if (serves) break
  }
  clearTimeout(deadline)
  assert(serves, `${program} ended, or took longer than ${startMsMax} ms, before it served`)
  child.stdout.resume()
}

async function ended({ program, child }) {
  const exit = once(child, 'exit')
  child.kill('SIGTERM')
  const [code] = await exit
  assert.equal(code, 0, `${program} did not end by itself on SIGTERM`)
}

async function rightPages(system, port) {
  await fetch(`${url(port)}/page/${fragmentsMax}`).then(answer => answer.text()) // Connections, and code that is warm.
  for (const count of [1, 5, 20, 50]) {
    const fromMs = performance.now()
    const answer = await fetch(`${url(port)}/page/${count}`)
    const text = await answer.text()
    const tookMs = performance.now() - fromMs
    const wanted = pageOf(Array.from({ length: count }, (_, n) => fragmentHtml(n)).join(''))
    assert.equal(answer.status, 200, `${system}: ${text}`)
    assert.equal(text, wanted, `${system}: the page of ${count}`)
    assert.equal(answer.headers.get('content-length'), String(Buffer.byteLength(wanted)))
    assert(tookMs >= timerMs - 2, `${system} took ${tookMs} ms: its fragments did not wait`)
    process.stdout.write(`${system}: the page of ${count} is right, ${tookMs.toFixed(1)} ms\n`)
  }
  await sideBySide(system, port)
  for (const wrong of ['0', '51', 'x']) assert.equal((await fetch(`${url(port)}/page/${wrong}`)).status, 404)
}

/** The quickest of five, as the machine may have other things to do. */
async function sideBySide(system, port) {
  const times = []
  while (times.length < 5) {
    const fromMs = performance.now()
    await fetch(`${url(port)}/page/${fragmentsMax}`).then(answer => answer.text())
    times.push(performance.now() - fromMs)
  }
  const quickestMs = Math.min(...times)
  assert(quickestMs < (timerMs * fragmentsMax) / 2, `${system} took ${quickestMs} ms: not side by side`)
}

/** All at once, so that they differ. */
async function freePorts(count) {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1')
      await once(server, 'listening')
      return server
    }),
  )
  const ports = servers.map(server => server.address().port)
  await Promise.all(servers.map(server => once(server.close(), 'close')))
  return ports
}
