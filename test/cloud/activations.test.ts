/** Which version is meant where none is named, how that came to be, and the way back; on maps alone. */
import { describe, expect, it } from 'vitest'
import type { Command } from '../../src/cloud/commands.js'
import { highestActive, historyOf, previousOf } from '../../src/cloud/decide/activations.js'
import { decide } from '../../src/cloud/decide/decide.js'
import { versionFor } from '../../src/cloud/decide/instances.js'
import { collect } from '../../src/cloud/decide/packages.js'
import { advanceRemovals } from '../../src/cloud/decide/removals.js'
import type { Context, Verdict } from '../../src/cloud/decide/verdict.js'
import type { MemoryMap } from '../../src/cloud/map.js'
import { put } from '../../src/cloud/records.js'
import { defaultSettings } from '../../src/cloud/settings.js'
import { apply, mapOf } from '../support/clouds.js'
import { aComponent, anInstance, motherships, running } from '../support/records.js'

let stamps = 0
function ask(map: MemoryMap, command: Command): Verdict {
  const at = new Date(Date.UTC(2026, 0, 1) + ++stamps * 1000).toISOString()
  const verdict = decide(map, command, { actor: { role: 'operator', subject: 'ann' }, at } as unknown as Context)
  if (verdict.kind === 'do') for (const step of verdict.steps) apply(map, step.changes)
  return verdict
}

const digest = (version: string): string => `sha256:${Buffer.from(version.padEnd(32, '-')).toString('hex')}`
function deploy(map: MemoryMap, version: string, { activate = true, size = 100 } = {}): Verdict {
  const { schema: _s, active: _a, activation: _h, deployedAt: _d, deployedBy: _b, ...component } = aComponent('news')
  const body = { component: { ...component, version, digest: digest(version), size }, activate }
  return ask(map, { op: 'deploy', body })
}
const activate = (map: MemoryMap, version: string, active = true): Verdict =>
  ask(map, { op: 'activate', body: { component: 'news', version, active } })
const undeploy = (map: MemoryMap, version: string): Verdict =>
  ask(map, { op: 'undeploy', body: { component: 'news', version } })
const rollback = (map: MemoryMap, to?: string, force = false): Verdict =>
  ask(map, { op: 'rollback', body: { component: 'news', force, ...(to === undefined ? {} : { to }) } })
const meant = (map: MemoryMap): string | undefined => highestActive(map, 'news')?.version
const told = (map: MemoryMap): unknown[] =>
  historyOf(map, 'news').map(({ what, version, from, to }) => [what, version, from, to])
const refusal = (verdict: Verdict): string => (verdict.kind === 'refuse' ? verdict.error.message : 'done')

function aCloud(...versions: readonly string[]): MemoryMap {
  const map = mapOf(...motherships('m1'))
  for (const version of versions) deploy(map, version)
  return map
}

function run(map: MemoryMap, version: string): void {
  const id = `news.${version}`
  apply(map, [put('instances', id, anInstance(id, ['m1'], { version: `${version}.0` })), running('m1', id)])
}

describe('a component', () => {
  it('has a history of who changed what is meant, when, from what to what', () => {
    const map = aCloud('1.0', '1.2')
    deploy(map, '1.3', { activate: false })
    activate(map, '1.3')
    activate(map, '1.3')
    deploy(map, '1.1')
    activate(map, '1.3', false)
    undeploy(map, '1.2')

    expect(told(map)).toEqual([
      ['deploy', '1.0', null, '1.0'],
      ['deploy', '1.2', '1.0', '1.2'],
      ['activate', '1.3', '1.2', '1.3'],
      ['deploy', '1.1', '1.3', '1.3'],
      ['deactivate', '1.3', '1.3', '1.2'],
      ['undeploy', '1.2', '1.2', '1.1'],
    ])
    expect(historyOf(map, 'news')[0]).toMatchObject({ by: 'ann', at: expect.stringMatching(/^2026-01-01T/) })
  })

  it('keeps the last hundred changes, and none once its last version is gone', () => {
    const map = aCloud('1.0')
    for (let i = 0; i < 120; i++) activate(map, '1.0', i % 2 === 1)
    expect(historyOf(map, 'news')).toHaveLength(100)
    undeploy(map, '1.0')
    expect(map.get('activations', 'news')).toBeUndefined()
  })

  it('is told of an undeploy when it begins, and once', () => {
    const map = aCloud('1.0', '1.1')
    run(map, '1.1')
    undeploy(map, '1.1')
    const later = advanceRemovals(map, '2026-01-02T00:00:00.000Z').flatMap(step => step.changes)
    expect(later.filter(each => each.kind === 'activations')).toEqual([])
    expect(told(map).at(-1)).toEqual(['undeploy', '1.1', '1.1', '1.0'])
  })

  it('is found by fragments in active versions only, by its exact name in all', () => {
    const map = aCloud('1.0')
    deploy(map, '1.1', { activate: false })
    expect(versionFor(map, 'news', '1')?.version).toBe('1.0')
    expect(versionFor(map, 'news', '1.1')?.version).toBe('1.1')
    activate(map, '1.0', false)
    expect(versionFor(map, 'news', '1')).toBeUndefined()
    const wish = { component: 'news', version: '1', wish: {}, count: 1, bulk: false }
    expect(refusal(ask(map, { op: 'instantiate', body: wish }))).toBe('news/1.1.0 is not active: activate it first')
  })
})

describe('a rollback', () => {
  it('goes to the version that was meant before, further back each time, and not for ever', () => {
    const map = aCloud('1.0', '1.1', '1.2')
    expect(previousOf(map, 'news')?.version).toBe('1.1')
    rollback(map)
    expect([meant(map), map.get('components', 'news/1.2.0')?.value.active]).toEqual(['1.1', false])
    rollback(map)
    expect(meant(map)).toBe('1.0')
    expect(told(map).at(-1)).toEqual(['rollback', '1.0', '1.1', '1.0'])
    expect(refusal(rollback(map))).toContain('nothing was active before')
  })

  it('is in front of what was activated anew afterwards', () => {
    const map = aCloud('1.0', '1.1')
    rollback(map)
    activate(map, '1.1')
    rollback(map)
    expect(meant(map)).toBe('1.0')
  })

  it('takes back a deactivation, and passes over what is not deployed any more', () => {
    const map = aCloud('1.0', '1.1', '1.2')
    undeploy(map, '1.1')
    rollback(map)
    expect(meant(map)).toBe('1.0')
    activate(map, '1.0', false)
    expect(meant(map)).toBeUndefined()
    rollback(map)
    expect(meant(map)).toBe('1.0')
  })

  it('goes to a version that is named, too, up or down, in one step', () => {
    const map = aCloud('1.0', '1.1', '1.2')
    activate(map, '1.0', false)
    const verdict = rollback(map, '1.0')
    expect(verdict).toMatchObject({ kind: 'do', steps: [{ subjects: expect.arrayContaining(['news/1.2.0']) }] })
    expect(meant(map)).toBe('1.0')
    expect(rollback(map, '1.0')).toMatchObject({ answer: { outcome: 'unchanged' } })
    rollback(map, '1.2')
    expect(meant(map)).toBe('1.2')
    expect(refusal(rollback(map, '9.9'))).toContain('news/9.9')
  })

  it('leaves no hole in pages unless it is forced', () => {
    const map = aCloud('1.0', '1.1')
    run(map, '1.1')
    expect(refusal(rollback(map))).toMatch(/^news\/1.0.0 does not run, and 1.1 does/)
    expect(meant(map)).toBe('1.1')
    rollback(map, undefined, true)
    expect(meant(map)).toBe('1.0')
    activate(map, '1.1')
    run(map, '1.0')
    rollback(map)
    expect(meant(map)).toBe('1.0')
  })
})

describe('packages', () => {
  it('take no more than their budget; what is not needed is named, the largest first', () => {
    const mebibyte = 1024 * 1024
    const map = aCloud()
    apply(map, [put('settings', '', { ...defaultSettings, packageBudgetMiB: 10 })])
    deploy(map, '1.0', { activate: false, size: 2 * mebibyte })
    deploy(map, '1.1', { activate: false, size: 3 * mebibyte })
    deploy(map, '1.2', { size: 4 * mebibyte })
    const verdict = deploy(map, '1.3', { size: 1.5 * mebibyte })
    expect(verdict).toMatchObject({ error: { code: 'over-budget' } })
    expect(refusal(verdict)).toBe(
      'packages take 9.0 MiB of 10 MiB, and news/1.3 takes 1.5 MiB more: undeploy what is not needed (inactive and ' +
        'without instances: news/1.1.0 3.0 MiB, news/1.0.0 2.0 MiB), or raise the setting packageBudgetMiB',
    )
    expect(refusal(deploy(map, '1.2', { size: 4 * mebibyte }))).toBe('done')
    undeploy(map, '1.0')
    expect(refusal(deploy(map, '1.3', { size: 1.5 * mebibyte }))).toBe('done')
  })

  it('are refused when another one has the version, or had it; both digests are told', () => {
    const map = aCloud('1.0')
    const { schema: _s, active: _a, activation: _h, deployedAt: _d, deployedBy: _b, ...other } = aComponent('news')
    const body = { component: { ...other, digest: digest('other') }, activate: true }
    for (const named of ['is ', 'was ']) {
      const message = refusal(ask(map, { op: 'deploy', body }))
      expect(message).toContain(`${named}${digest('1.0')}`)
      expect(message).toContain(digest('other'))
      undeploy(map, '1.0')
    }
  })

  it('that nothing refers to are dropped, others never', () => {
    const map = aCloud('1.0')
    const drop = (of: string): Verdict => ask(map, { op: 'drop-package', body: { digest: digest(of), chunks: 3 } })
    expect(drop('1.0')).toMatchObject({ steps: [], answer: { outcome: 'unchanged' } })
    expect(drop('2.0')).toMatchObject({ steps: [{ dropsBlobs: { digest: digest('2.0'), chunks: 3 } }] })
    const stored = new Map([digest('1.0'), digest('2.0')].map(each => [each, 2]))
    expect(collect(map, stored)).toEqual([
      { changes: [], subjects: [digest('2.0')], dropsBlobs: { digest: digest('2.0'), chunks: 2 } },
    ])
  })
})
