/**
 * What an operator does, by the command, on a cloud of real processes: looks at the load that a real Prometheus tells,
 * asks why, drains, rebalances, changes settings. And what the cloud does when Prometheus, or a mothership, is killed.
 */
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { runRain, startCloud, type TestCloud } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'
import { type Rest, restOf } from '../support/rest.js'

let cloud: TestCloud
let rest: Rest
beforeAll(async () => {
  cloud = await startCloud({ args: ['--etcd', '1', '--replicas', '2', '--motherships', '3', '--rain-servers', '1'] })
  rest = restOf(cloud.state().api, cloud.state().tokens.admin)
}, 120_000)
afterAll(async () => {
  await cloud.close()
})

async function rain(...args: readonly string[]): Promise<{ code: number; said: string }> {
  const run = runRain([...args, '--data-dir', cloud.dataDir])
  return { code: await run.ended, said: run.said() }
}

interface Ship {
  readonly id: string
  readonly instances: number
  readonly measured: { readonly source: string; readonly ram: number; readonly freshness: string } | null
}
const ships = async (): Promise<readonly Ship[]> =>
  (await rest('GET', '/mothership/all')).body['items'] as unknown as Ship[]
const prometheus = async (): Promise<string> =>
  ((await rest('GET', '/readyz')).body['prometheus'] as unknown as { state: string }).state

it('measures motherships through Prometheus, and by their own reports while that is dead', async () => {
  const sources = async (): Promise<string> => (await ships()).map(each => each.measured?.source).join()
  await waitUntil(
    'Prometheus tells of all',
    async () => (await sources()) === 'prometheus,prometheus,prometheus',
    45_000,
  )
  // Loads by cpu come later than those by ram: two scrapes make a rate.
  await waitUntil('it lacks nothing', async () => (await prometheus()) === 'good', 30_000)
  expect((await ships()).every(each => each.measured!.ram > 10)).toBe(true)
  const { code, said } = await rain('top')
  expect(code).toBe(0)
  expect(said).toMatch(/fresh, by prometheus/)

  const { prometheusPid } = cloud.state()
  process.kill(prometheusPid, 'SIGSTOP')
  await waitUntil('that is seen', async () => (await prometheus()) === 'slow', 10_000)
  await waitUntil(
    'it is told',
    async () => /^Prometheus is slow: no answer within \d+ ms; reports stand in/m.test((await rain('top')).said),
    10_000,
  )
  // Each replica judges the age of what it heard: each is asked, and one answer says both.
  for (const { url } of cloud.state().replicas) {
    const ask = restOf(url, cloud.state().tokens.admin)
    const told = async (): Promise<string> =>
      ((await ask('GET', '/mothership/all')).body['items'] as unknown as Ship[])
        .map(({ measured }) => `${measured?.freshness} ${measured?.source}`)
        .join()
    await waitUntil(
      'fresh reports stand in',
      async () => (await told()) === 'fresh report,fresh report,fresh report',
      30_000,
    )
  }
  // `up` starts it again.
  process.kill(prometheusPid, 'SIGKILL')
  await waitUntil('it tells again', async () => (await prometheus()) === 'good', 45_000)
}, 120_000)

it('says why, clones, drains with progress, cancels, and spreads again', async () => {
  const made = await rain('run', 'footer', '--count', '9')
  expect(made.code).toBe(0)
  // And some that are large, so that what is uneven later is what they reserve, not how busy this machine is.
  const { body: m1 } = await rest('GET', '/mothership/m1')
  const some = (resource: string): number => Number(m1['capacity']?.[resource]) * 0.04
  const need = { cpu: some('cpu'), ram: some('ram'), bandwidth: some('bandwidth') }
  const large = await rest('POST', '/webcomponent/footer/1.0?count=12&wait=running&timeout=30s', { need })
  expect(large.status).toBe(201)
  expect(large.body['items']).toHaveLength(12)
  const [instance = ''] = made.said.split(' ')
  const why = await rain('explain', instance)
  expect(why.code).toBe(0)
  expect(why.said).toMatch(/as decided at .*, on revision \d+:\nMOTHERSHIP +SCORE/)
  expect(why.said).toMatch(/if it were placed now:\nMOTHERSHIP +SCORE/)
  expect((await rain('explain', 'footer/1.0')).said).toMatch(/^an instance of footer\/1.0 would go to m/)
  // Each has two copies, and there are three motherships.
  expect((await rain('clone', instance)).said).toContain('learner')
  expect((await rain('stop', instance)).code).toBe(0)

  expect((await rain('cordon', 'm1')).said).toBe('m1 takes nothing more\n')
  expect((await rain('explain', 'footer/1.0')).said).toContain('m1: is cordoned (not-cordoned)')
  await rain('cordon', 'm2', 'm3')
  const nowhere = await rain('run', 'footer', '--wait', 'placed')
  expect([nowhere.code, nowhere.said]).toEqual([
    1,
    expect.stringMatching(/m1 is cordoned; m2 is cordoned; m3 is cordoned\n +`rain uncordon <mothership>`/),
  ])
  expect((await rain('explain', 'footer')).said).toContain('what can be done: `rain uncordon <mothership>`')
  await rain('uncordon', 'm2', 'm3')
  expect((await rain('uncordon', 'm1')).said).toBe('m1 takes instances again\n')

  const drained = await rain('drain', 'm1', '--deadline', '30s', '--wait', '60s')
  expect(drained.code, drained.said).toBe(0)
  expect(drained.said).toMatch(/^m1 drains: \d+ instances to move\n[\s\S]*m1 0 left\n$/)
  expect((await ships()).find(each => each.id === 'm1')!.instances).toBe(0)
  // The pages that it helped to make are whole.
  const page = await fetch(`${cloud.state().pages}/shop/index`, { headers: { accept: 'text/html' } })
  expect(await page.text()).not.toContain('data-rain-status')

  expect((await rain('drain', 'm1', '--cancel')).said).toBe('m1 keeps its 0 instances\n')
  const changed = await rain('settings', 'rebalance.minGain=0', 'rebalance.stopBelow=0', 'rebalance.automatic=false')
  expect(changed.said).toContain('rebalance.minGain=0\n')
  // What was measured while they were moved has to fade first.
  await waitUntil(
    'there is something to move',
    async () => /^\S+\.\S+ +m[23] +m1$/m.test((await rain('rebalance', '--dry-run', '--moves', '2')).said),
    30_000,
  )
  const moved = JSON.parse((await rain('rebalance', '--moves', '2', '--json')).said) as { moving: number }
  expect(moved.moving).toBeGreaterThan(0)
  const held = async (): Promise<number> => (await ships()).find(each => each.id === 'm1')!.instances
  await waitUntil('they have moved', async () => {
    const { body } = await rest('GET', '/rebalance/plan')
    return (await held()) === moved.moving && JSON.stringify(body['underWay']) === '[]'
  })
  expect((await rain('settings', 'rebalance.minGain=2')).code).toBe(1)
}, 120_000)

it('holds a changed setting at every replica at once', async () => {
  const { replicas, tokens } = cloud.state()
  const { headers } = await rest('PUT', '/settings', { ceilings: { cpu: 0.87 } })
  for (const { url } of replicas) {
    const { body } = await restOf(url, tokens.admin)('GET', `/settings?minRevision=${headers.get('x-rain-revision')}`)
    expect(body['ceilings']).toMatchObject({ cpu: 0.87, ram: 0.95 })
  }
  const wrong = await rest('PUT', '/settings', { load: { freshMs: 12_000, staleMs: 10_000 } })
  expect([wrong.status, wrong.text]).toEqual([400, expect.stringContaining('/load/freshMs')])
  expect((await rain('settings', 'ceilings.cpu', 'policy')).said).toBe('ceilings.cpu=0.87\npolicy="spread"\n')
  const both = await rain('settings', 'policy=tight', 'ceilings.cpu=90')
  expect([both.code, both.said]).toEqual([
    1,
    'rain: /ceilings/cpu: must be <= 10; /policy: must be one of spread, pack, balanced\n',
  ])
  expect((await rain('settings', 'rebalance.minGain.x=0.1')).code).toBe(1)
})

it('uses a mothership that comes, without anyone asking', async () => {
  const one = ['rebalance.automatic=true', 'rebalance.quietMs=0', 'rebalance.startAbove=0.01', 'rebalance.coolDownMs=0']
  await rain('settings', ...one)
  const hypervisor = cloud.state().replicas.map(each => each.url)
  const { body } = await rest('POST', '/tokens', {
    role: 'node',
    subject: 'mothership/m9',
    node: { kind: 'mothership', id: 'm9' },
  })
  const tokenFile = join(cloud.dataDir, 'm9.token')
  writeFileSync(tokenFile, String(body['token']), { mode: 0o600 })
  const ports = ['--port', String(cloud.portBase + 195), '--metrics-port', String(cloud.portBase + 196)]
  const more = ['--token-file', tokenFile, '--hypervisor', hypervisor.join(), '--data-dir', join(cloud.dataDir, 'm9')]
  const { child, ended } = runRain(['mothership', '--id', 'm9', ...ports, ...more])
  try {
    const held = async (): Promise<number> => (await ships()).find(each => each.id === 'm9')?.instances ?? 0
    await waitUntil('instances have moved there', async () => (await held()) > 0, 60_000)
    expect((await rain('drain', 'm9', '--wait', '60s')).code).toBe(0)
    expect((await rest('DELETE', '/mothership/m9')).status).toBe(204)
  } finally {
    child.kill('SIGTERM')
    await ended
    await rain('settings', 'rebalance.automatic=false')
  }
}, 150_000)

it('runs elsewhere what ran on a mothership that was killed, most important first, and takes it back empty', async () => {
  await rain('settings', 'lostAfterMs=2000')
  const most = [...(await ships())].sort((a, b) => b.instances - a.instances)[0]!.id
  const here = cloud.state().motherships.find(each => each.id === most)!
  const before = await rest('GET', `/mothership/${here.id}/webcomponents`)
  const ids = (before.body['items'] as unknown as { id: string }[]).map(each => each.id)
  expect(ids.length).toBeGreaterThan(0)
  process.kill(here.pid, 'SIGSTOP')
  const state = async () => (await rest('GET', `/mothership/${here.id}`)).body['state'] as unknown as string
  await waitUntil('it is lost', async () => (await state()) === 'lost', 10_000)
  await waitUntil(
    'its instances run elsewhere',
    async () => {
      const views = await Promise.all(ids.map(id => rest('GET', `/webcomponent/${id}`)))
      return views.every(({ body }) => {
        const copies = body['copies'] as unknown as { mothership: string; phase: string }[]
        return copies.every(each => each.mothership !== here.id && each.phase === 'running')
      })
    },
    30_000,
  )
  process.kill(here.pid, 'SIGCONT')
  await waitUntil(
    'it is back, and empty',
    async () => {
      const { body } = await rest('GET', `/mothership/${here.id}`)
      return body['state'] === ('ready' as unknown) && body['instances'] === (0 as unknown)
    },
    30_000,
  )
}, 90_000)
