/**
 * F14 and F2 through HAProxy: a replica is killed, or stops cleanly, while a whole cloud (as `rain up` runs it) is asked
 * by many connections. No read fails; a start under an Idempotency-Key takes effect once.
 */
import { Agent, request } from 'node:http'
import { describe, expect, it } from 'vitest'
import { startCloud, type TestCloud } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'
import { restOf } from '../support/rest.js'
import { titled, whyNoProgram } from './support/capabilities.js'
import { nowMs, startBody } from './support/clients.js'
import { sleep } from './support/rounds.js'
import { ms, report } from './support/rows.js'

const reason = whyNoProgram('haproxy', 'prometheus')
const readers = 24
const starters = 8
const loadMs = 6_000

interface Done {
  readonly status: number
  readonly fromMs: number
  readonly toMs: number
  readonly key?: string
  readonly id?: string
}

const agent = new Agent({ keepAlive: true, maxSockets: 64 })

/** 0: the connection broke. */
function ask(url: string, method: string, token: string, key?: string, body?: string): Promise<Done> {
  const fromMs = nowMs()
  const headers = { user: token, 'content-type': 'application/json', ...(key ? { 'idempotency-key': key } : {}) }
  return new Promise(resolve => {
    const finish = (status: number, text = ''): void => {
      const id = status === 201 ? (JSON.parse(text) as { id: string }).id : undefined
      resolve({ status, fromMs, toMs: nowMs(), ...(key ? { key } : {}), ...(id ? { id } : {}) })
    }
    const call = request(url, { method, headers, agent, timeout: 10_000 }, answer => {
      let text = ''
      answer.setEncoding('utf8').on('data', part => (text += part))
      answer.once('end', () => finish(answer.statusCode ?? 0, text))
      answer.once('error', () => finish(0))
    })
    call.once('timeout', () => call.destroy(new Error('no answer')))
    call.once('error', () => finish(0))
    call.end(body)
  })
}

async function underLoad(
  cloud: TestCloud,
  fault: () => void,
): Promise<{ reads: Done[]; starts: Done[]; atMs: number }> {
  const { api, tokens } = cloud.state()
  const reads: Done[] = []
  const starts: Done[] = []
  let going = true
  let keys = 0
  const read = async (): Promise<void> => {
    while (going) reads.push(await ask(`${api}/webcomponent/footer/1.0`, 'GET', tokens.viewer))
  }
  const start = async (): Promise<void> => {
    while (going) {
      const key = `start-${process.pid}-${nowMs()}-${++keys}`
      const body = JSON.stringify(startBody())
      const send = () => ask(`${api}/webcomponent/footer/1.0`, 'POST', tokens.operator, key, body)
      let done = await send()
      starts.push(done)
      // As a caller does that was told nothing, or to come back.
      for (let again = 0; done.status !== 201 && again < 30; again++) {
        await sleep(100)
        starts.push((done = await send()))
      }
    }
  }
  const loops = [...Array.from({ length: readers }, read), ...Array.from({ length: starters }, start)]
  await sleep(loadMs / 3)
  const atMs = nowMs()
  fault()
  await sleep((2 * loadMs) / 3)
  going = false
  await Promise.all(loops)
  return { reads, starts, atMs }
}

async function instanceIds(cloud: TestCloud): Promise<Set<string>> {
  const { api, tokens } = cloud.state()
  const ids = new Set<string>()
  const { body } = await restOf(api, tokens.viewer)('GET', '/mothership/all?consistency=linearizable')
  for (const { id } of body['items'] as unknown as { id: string }[]) {
    for (let path = `/mothership/${id}/webcomponents?range=1000`; ; ) {
      const page = (await restOf(api, tokens.viewer)('GET', path)).body as unknown as {
        items: { id: string }[]
        next?: string
      }
      for (const each of page.items) ids.add(each.id)
      if (page.next === undefined) break
      path = page.next
    }
  }
  return ids
}

async function leaderPid(cloud: TestCloud): Promise<number> {
  const { api, replicas } = cloud.state()
  const ready = (await (await fetch(`${api}/readyz`)).json()) as { leader: string }
  return replicas.find(each => each.id === ready.leader)!.pid
}

const faults = [
  { id: 'F14', name: 'replica kill -9 (the leader) under load', signal: 'SIGKILL' as const },
  { id: 'F2', name: 'leader clean stop under load, through HAProxy', signal: 'SIGTERM' as const },
]

describe(titled('F14 and F2, a replica that goes under load', reason), () => {
  for (const { id, name, signal } of faults) {
    it.skipIf(reason !== undefined)(`costs no read and no start twice: ${name}`, async () => {
      const cloud = await startCloud()
      try {
        const before = await instanceIds(cloud)
        const pid = await leaderPid(cloud)
        const { reads, starts, atMs } = await underLoad(cloud, () => process.kill(pid, signal))
        await waitUntil('every replica runs', () => cloud.state().replicas.every(each => each.pid > 0))
        const after = await instanceIds(cloud)
        const failedReads = reads.filter(each => each.status !== 200)
        const failedStarts = starts.filter(each => each.status !== 201)
        const windowMs = Math.max(0, ...failedStarts.map(each => each.toMs - atMs))
        const acknowledged = new Map(starts.filter(each => each.id !== undefined).map(each => [each.key, each.id!]))
        const made = [...after].filter(each => !before.has(each))
        const lost = [...acknowledged.values()].filter(each => !after.has(each))
        // Every key was asked for until it was acknowledged, so that each stands for one instance.
        const keys = new Set(starts.map(each => each.key)).size
        const twice = made.length - keys
        const exact = lost.length === 0 && twice === 0 && acknowledged.size === keys
        const figure = `${failedReads.length} of ${reads.length} reads failed; ${keys} keys, ${made.length} instances made, ${lost.length} lost; ${failedStarts.length} starts sent again, the last after ${ms(windowMs)}`
        const bar =
          id === 'F14' ? '0 failed; one effect for each key; <= 1000 ms' : '0 failed calls; one effect for each key'
        const ok = failedReads.length === 0 && exact && (id === 'F14' ? windowMs <= 1_000 : failedStarts.length === 0)
        report({ id, fault: name, figure, bar, ok, n: reads.length + starts.length })
        expect([lost, twice, acknowledged.size]).toEqual([[], 0, keys])
        expect.soft(failedReads.slice(0, 3)).toEqual([])
        expect.soft(ok).toBe(true)
      } finally {
        await cloud.close()
      }
    })
  }
})
