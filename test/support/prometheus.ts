/** A real Prometheus, and what it asks for its targets. Everything is gone when `cleanUp` was awaited. */
import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer as createHttp, type Server } from 'node:http'
import { type AddressInfo, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

const cleanups: (() => unknown)[] = []

export async function cleanUp(): Promise<void> {
  for (const clean of cleanups.splice(0).reverse()) await clean()
}

/** To be done at the end, the last one first. */
export function atTheEnd(clean: () => unknown): void {
  cleanups.push(clean)
}

export function configFile(text: string): { directory: string; file: string } {
  const directory = mkdtempSync(join(tmpdir(), 'rain-prometheus-'))
  cleanups.push(() => rmSync(directory, { recursive: true, force: true, maxRetries: 5 }))
  const file = join(directory, 'prometheus.yml')
  writeFileSync(file, text)
  return { directory, file }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise(resolve => server.once('listening', resolve))
  const { port } = server.address() as AddressInfo
  await new Promise(resolve => server.close(resolve))
  return port
}

/** A replica's answer to `/prometheus/targets`, and nothing else of it. */
export async function targets(answer: () => unknown): Promise<string> {
  const server: Server = createHttp((request, response) => {
    response.statusCode = request.url === '/prometheus/targets' ? 200 : 404
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(answer()))
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => {
    server.closeAllConnections()
    return new Promise(resolve => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

export interface RunningPrometheus {
  readonly url: string
  /** As a crash would end it. */
  kill(): Promise<unknown>
}

export async function startPrometheus(config: string): Promise<RunningPrometheus> {
  const { directory, file } = configFile(config)
  const port = await freePort()
  const child: ChildProcess = spawn(
    '/usr/bin/prometheus',
    [`--config.file=${file}`, `--storage.tsdb.path=${directory}/data`, `--web.listen-address=127.0.0.1:${port}`],
    { stdio: 'ignore' },
  )
  const gone = new Promise(resolve => child.once('exit', resolve))
  const kill = (): Promise<unknown> => {
    child.kill('SIGKILL')
    return gone
  }
  cleanups.push(kill)
  return { url: `http://127.0.0.1:${port}`, kill }
}
