/**
 * Moving and losing: how long a plan for 10,000 instances takes, that it moves nothing twice; and how long after its
 * grace time a mothership's 1,000 instances run elsewhere when it is killed, alone and together with the leader. Real
 * etcd, replicas and motherships, as `rain up` starts them, on one machine. Not measured: instances that keep state.
 */

import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { UpState } from '../src/cli/up/state.js'
import { stepsOf } from '../src/cloud/decide/rebalance.js'
import { settingsOf } from '../src/cloud/decide/verdict.js'
import { violations } from '../src/cloud/invariants.js'
import { type Applied, MemoryMap } from '../src/cloud/map.js'
import { Engine } from '../src/cloud/placement/engine.js'
import { hourMs, hoursKept, UseHistory } from '../src/cloud/placement/history.js'
import { Horizon } from '../src/cloud/placement/outlook.js'
import type { RebalancePlan } from '../src/cloud/placement/plan.js'
import { planRebalance } from '../src/cloud/placement/rebalance.js'
import { type Change, put, remove } from '../src/cloud/records.js'
import { aComponent, aMothership, anInstance, session } from '../test/support/records.js'
import { type Bar, bar, finish, spreadOf } from './harness.js'
import { freeBase } from './support/cluster.js'

const say = (text: string): void => void process.stdout.write(`${text}\n`)
const pause = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
const at = '2026-01-01T00:00:00.000Z'
const instances = 10_000
const motherships = 100
const figures: Record<string, number> = {}
const bars: Record<string, Bar> = {}

function applied(map: MemoryMap, changes: readonly Change[]): void {
  const revision = map.order.revision + 1
  map.apply(changes.map(each => ({ ...each, created: revision, modified: revision })) as Applied[], revision)
}

/** Instances of 40 versions on the first half of the motherships; the others have just come. */
function unevenCloud(): MemoryMap {
  const map = new MemoryMap()
  const ids = Array.from({ length: motherships }, (_, each) => `mothership-${String(each).padStart(3, '0')}`)
  const versions = Array.from({ length: 40 }, (_, each) => `component-${String(each).padStart(2, '0')}`)
  const changes: Change[] = [
    ...versions.map(id => put('components', `${id}/1.0.0`, aComponent(id, '1.0.0'))),
    ...ids.flatMap(id => [
      put('motherships', id, aMothership(id, { capacity: { cpu: 32_000, ram: 64_000, bandwidth: 1_000_000 } })),
      session('mothership', id),
    ]),
  ]
  for (let each = 0; each < instances; each++) {
    const id = `${versions[each % versions.length]}.${String(each).padStart(6, '0')}`
    const on = ids[each % (motherships / 2)]!
    const need = { cpu: 50 + (each % 7) * 20, ram: 64 + (each % 5) * 64, bandwidth: 500 + (each % 3) * 1_000 }
    const component = versions[each % versions.length]!
    const observed = { schema: 1, session: 1, epoch: 1, generation: 0, phase: 'running' as const, since: at }
    changes.push(put('instances', id, { ...anInstance(id, [on]), component, need, placement: {} }))
    changes.push(put('observed', `${on}/${id}`, observed))
  }
  applied(map, changes)
  return map
}

/** A week in which each version has busy hours of its own every day. */
function aWeek(map: MemoryMap): UseHistory {
  const history = new UseHistory()
  const versions = [...map.all('components')].map(([id]) => id)
  for (let hour = 0; hour < hoursKept; hour++) {
    for (const [index, version] of versions.entries()) {
      const busy = (hour + index * 5) % 24 < 4 ? 4 : 1
      history.note(version, { cpu: (20 + index) * busy, ram: 64 + index, bandwidth: 500 * busy }, hour * hourMs)
    }
  }
  return history
}

function planned(map: MemoryMap, movesMax: number, history?: UseHistory): { plan: RebalancePlan; ms: number } {
  const load = { cpu: 100, ram: 100, bandwidth: 100, ageMs: 100 }
  const engine = new Engine(map, () => load)
  const fromMs = performance.now()
  const outlook = history && new Horizon(history).at(map, hoursKept * hourMs)
  const plan = planRebalance({
    map,
    settings: settingsOf(map),
    place: (over, question) => engine.place(over, question, { nowMs: 0, at }),
    hosts: over => engine.hosts(over, 0),
    usageOf: ({ need }) => ({ cpu: need.cpu / 2, ram: need.ram / 2, bandwidth: need.bandwidth / 2 }),
    usualOf: () => undefined,
    outlook,
    movesMax,
    at,
  })
  return { plan, ms: performance.now() - fromMs }
}

/** All of them have arrived. */
function moved(map: MemoryMap, plan: RebalancePlan): void {
  for (const step of stepsOf(map, plan.moves, at)) {
    for (const each of step.changes) {
      if (each.kind === 'moves' && each.value) applied(map, [put('moves', each.id, { ...each.value, over: true })])
    }
  }
  for (const { instance, from, to } of plan.moves) {
    const before = map.get('instances', instance)!.value
    const observed = map.get('observed', `${from}/${instance}`)!.value
    applied(map, [
      put('instances', instance, { ...before, primary: to, inSync: [to] }),
      remove('observed', `${from}/${instance}`),
      put('observed', `${to}/${instance}`, observed),
    ])
  }
}

/** By what is reserved and used now, and by what a week has taught. */
function planning(learnt: boolean): void {
  const known = (map: MemoryMap): UseHistory | undefined => (learnt ? aWeek(map) : undefined)
  const times: number[] = []
  let found: RebalancePlan | undefined
  for (let round = 0; round < 6; round++) {
    const map = unevenCloud()
    const { plan, ms } = planned(map, instances, known(map))
    if (round > 0) times.push(ms)
    found = plan
  }
  const { median, low, high } = spreadOf(times)
  const { before, after, moves } = found!
  // What a week teaches is what is used; what is reserved may stay a little less even.
  if (moves.length < 500 || after.imbalance > (learnt ? 0.2 : 0.11))
    throw new Error(`it planned ${moves.length} moves only`)
  const map = unevenCloud()
  const first = planned(map, instances, known(map)).plan
  moved(map, first)
  const second = planned(map, instances, known(map)).plan
  const wrong = violations(map)
  if (wrong.length > 0) throw new Error(`the plan breaks rules: ${wrong[0]}`)
  const by = learnt ? ', by a week of use' : ''
  say(`a plan for ${instances} instances on ${motherships} motherships${by}: ${moves.length} moves`)
  say(`  in ${median.toFixed(0)} ms (${low.toFixed(0)} – ${high.toFixed(0)});`)
  say(
    `  imbalance ${before.imbalance} before, ${after.imbalance} after; done and planned again: ${second.moves.length} moves\n`,
  )
  const name = learnt ? 'planAhead' : 'plan'
  const again = learnt ? 'secondPlanAheadMoves' : 'secondPlanMoves'
  figures[`${name}Ms`] = median
  figures[`${name}Moves`] = moves.length
  figures[again] = second.moves.length
  bars[`${name}Ms`] = bar(median, 1_000, 'atMost')
  bars[again] = bar(second.moves.length, 0, 'atMost')
}

const graceMs = 2_000
const many = 1_000

async function losing(): Promise<void> {
  const directory = mkdtempSync(join(tmpdir(), 'rain-bench-'))
  const base = await freeBase()
  const program = join(process.cwd(), 'dist', 'main.js')
  const args = ['up', '--data-dir', directory, '--port-base', String(base), '--replicas', '3', '--motherships', '3']
  const up = spawn(process.execPath, [program, ...args, '--rain-servers', '1'], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const ended = new Promise(resolve => up.once('exit', resolve))
  try {
    await new Promise<void>((resolve, reject) => {
      up.stdout.on('data', part => /^ready$/m.test(String(part)) && resolve())
      up.once('exit', code => reject(new Error(`up ended with ${code}`)))
    })
    const state = (): UpState => JSON.parse(readFileSync(join(directory, 'up.json'), 'utf8')) as UpState
    for (const withLeader of [false, true]) {
      const ms = await lose(state, withLeader, up)
      const name = withLeader ? 'lostWithLeaderMs' : 'lostMs'
      say(`${many} instances of a mothership that was killed${withLeader ? ' together with the leader' : ''}:`)
      say(`  all run elsewhere ${Math.round(ms)} ms after the grace time`)
      figures[name] = ms
      bars[name] = bar(ms, 5_000, 'atMost')
    }
  } finally {
    up.kill('SIGINT')
    await ended
    rmSync(directory, { recursive: true, force: true })
  }
}

/** From the kill to the moment at which all of its instances are seen to run elsewhere, less the grace time. */
async function lose(state: () => UpState, withLeader: boolean, supervisor: ChildProcess): Promise<number> {
  const { api, tokens, motherships: ships, replicas } = state()
  const ask = async (method: string, path: string, body?: unknown): Promise<{ [name: string]: unknown }> => {
    const init = body === undefined ? {} : { body: JSON.stringify(body) }
    const headers = { user: tokens.admin, 'content-type': 'application/json' }
    const answer = await fetch(api + path, { method, headers, ...init })
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`)
    return (await answer.json().catch(() => ({}))) as { [name: string]: unknown }
  }
  await ask('PUT', '/settings', { lostAfterMs: graceMs, rebalance: { automatic: false } })
  const target = ships[withLeader ? 1 : 0]!
  const others = ships.filter(each => each.id !== target.id)
  for (const each of others) await ask('PUT', `/mothership/${each.id}`, { cordoned: true })
  const wish = { need: { cpu: 0.5, ram: 4, bandwidth: 1 }, placement: { copies: 1 } }
  const made = await ask('POST', `/webcomponent/footer/1.0?count=${many}&wait=running&timeout=60s`, wish)
  const ids = new Set((made['items'] as { id: string; phase: string }[]).map(each => each.id))
  for (const each of others) await ask('PUT', `/mothership/${each.id}`, { cordoned: false })
  const running = async (): Promise<number> => {
    let count = 0
    for (const { id } of others) {
      for (let start = 0; ; start += 1000) {
        const page = await ask('GET', `/mothership/${id}/webcomponents?start=${start}&range=1000`)
        const items = page['items'] as { id: string; copies: { mothership: string; phase: string }[] }[]
        for (const each of items) {
          const here = each.copies.some(copy => copy.mothership === id && copy.phase === 'running')
          if (ids.has(each.id) && here) count++
        }
        if (items.length < 1000) break
      }
    }
    return count
  }
  if ((await running()) !== 0) throw new Error('they were to be on one mothership only')
  const leader = ((await ask('GET', '/replicas'))['items'] as { id: string; leader: boolean }[]).find(
    each => each.leader,
  )
  // It would start them again within the grace time.
  supervisor.kill('SIGSTOP')
  const fromMs = performance.now()
  process.kill(target.pid, 'SIGKILL')
  if (withLeader) process.kill(replicas.find(each => each.id === leader!.id)!.pid, 'SIGKILL')
  // Asked for shortly, so that asking does not take the time that the cloud needs; and in full at the end.
  const left = async (): Promise<boolean> => {
    const footer = await ask('GET', '/webcomponent/footer/1.0')
    const on = footer['motherships'] as readonly string[]
    const { total, byPhase } = footer['instances'] as { total: number; byPhase: Record<string, number> }
    return !on.includes(target.id) && byPhase['running'] === total && total >= many
  }
  while (!(await left().catch(() => false))) {
    if (performance.now() - fromMs > 60_000) throw new Error(`only ${await running()} of ${many} run elsewhere`)
    await pause(20)
  }
  const ms = performance.now() - fromMs - graceMs
  if ((await running()) !== many) throw new Error(`${await running()} of ${many} run elsewhere`)
  supervisor.kill('SIGCONT')
  for (const id of ids) await ask('DELETE', `/webcomponent/${id}`)
  await pause(3_000)
  return ms
}

planning(false)
planning(true)
if (!process.argv.includes('--plans-only')) await losing()
finish('rebalance', figures, bars)
