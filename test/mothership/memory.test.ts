import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { WantedMemory } from '../../src/mothership/memory.js'
import { TestLog } from '../support/logs.js'

let dataDir: string
let log: TestLog
beforeEach(() => {
  dataDir = mkdtempSync(join(tmpdir(), 'rain-memory-'))
  log = new TestLog()
})
afterEach(() => rmSync(dataDir, { recursive: true, force: true }))

const state = (revision: number): Parameters<WantedMemory['write']>[0] => ({
  order: { era: 2, revision },
  entries: new Map<string, unknown>([['instances/news.1', { generation: revision }]]),
})

describe('the remembered wanted state', () => {
  it('is the last one that was written', async () => {
    const memory = new WantedMemory(dataDir, log)
    await memory.write(state(1))
    await memory.write(state(2))

    expect(new WantedMemory(dataDir, log).read()).toEqual(state(2))
    expect(readdirSync(dataDir)).toEqual(['wanted.json'])
  })

  it('is none before the first, without a word', () => {
    expect(new WantedMemory(dataDir, log).read()).toBeUndefined()
    expect(log.said).toEqual([])
  })

  it.each([
    '',
    '{',
    'null',
    '{}',
    '{"order":{"era":1,"revision":2}}',
    '{"order":{"era":"1","revision":2},"entries":{}}',
  ])('is none when it reads %j', text => {
    writeFileSync(join(dataDir, 'wanted.json'), text)
    expect(new WantedMemory(dataDir, log).read()).toBeUndefined()
  })

  it('is not touched by a write that does not end', async () => {
    const memory = new WantedMemory(dataDir, log)
    await memory.write(state(1))
    const before = readFileSync(join(dataDir, 'wanted.json'), 'utf8')
    const circle: Record<string, unknown> = {}
    circle['self'] = circle

    await expect(memory.write({ ...state(2), entries: new Map([['x', circle]]) })).rejects.toThrow('circular')
    expect(readFileSync(join(dataDir, 'wanted.json'), 'utf8')).toBe(before)
  })
})
