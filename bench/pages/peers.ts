/** Podium and OpenComponents as their own documentation sets them up, from `bench/peers`. */
import { join } from 'node:path'
import { freePorts } from '../../test/support/etcd.js'
import { Running } from './process.js'

export interface Peer {
  readonly name: string
  readonly port: number
  /** The process that puts pages together. */
  readonly page: Running
  stop(): Promise<void>
}

export async function startPeers(directory: string, timerMs: number): Promise<Peer[]> {
  const { installOnce } = (await import(join(directory, 'install.mjs'))) as { installOnce: () => void }
  installOnce()
  const start = (program: string, ...args: readonly (string | number)[]): Promise<Running> =>
    Running.start([join(directory, program), ...args.map(String)], /^ready$/m)
  return [await podium(start, timerMs), await openComponents(start, timerMs, directory)]
}

type Start = (program: string, ...args: readonly (string | number)[]) => Promise<Running>

async function podium(start: Start, timerMs: number): Promise<Peer> {
  const [port, ...podlets] = await freePorts(4)
  const servers = await Promise.all(podlets.map(each => start('podium-podlets.mjs', each, timerMs)))
  const urls = podlets.map(each => `http://127.0.0.1:${each}`).join(',')
  const page = await start('podium-layout.mjs', port!, urls)
  return { name: 'podium', port: port!, page, stop: () => endAll([page, ...servers]) }
}

async function openComponents(start: Start, timerMs: number, directory: string): Promise<Peer> {
  const [port, ...registries] = await freePorts(4)
  const servers: Running[] = []
  // One after the other: the first one packages the component.
  for (const each of registries) {
    servers.push(await start('oc-registry.mjs', each, timerMs, join(directory, '.oc')))
  }
  const urls = registries.map(each => `http://127.0.0.1:${each}/`).join(',')
  const page = await start('oc-page.mjs', port!, urls)
  return { name: 'oc', port: port!, page, stop: () => endAll([page, ...servers]) }
}

async function endAll(processes: readonly Running[]): Promise<void> {
  for (const each of processes) await each.end()
}
