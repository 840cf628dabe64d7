import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { follow, wordOf } from '../../src/cli/dev/words.js'
import { waitUntil } from '../support/etcd.js'

it('are what the component prints, and why its views fail', () => {
  const word = (fields: object): string | undefined => wordOf(JSON.stringify(fields), 'news')
  expect(word({ component: 'news', stream: 'stdout', msg: 'hello' })).toBe('news: hello')
  expect(word({ component: 'news', stream: 'stderr', msg: 'oh', error: 'E' })).toBe('news: oh (E)')
  expect(word({ component: 'news', view: 'index', reason: 'no', msg: 'a component failed' })).toBe(
    'news/index failed: no',
  )
  expect(word({ component: 'other', stream: 'stdout', msg: 'hello' })).toBeUndefined()
  expect(word({ component: 'news', msg: 'started' })).toBeUndefined()
  expect(wordOf('no JSON', 'news')).toBeUndefined()
})

it('are read as the log grows, line by line, whatever it is cut into', async () => {
  const directory = mkdtempSync(join(tmpdir(), 'rain-words-'))
  const file = join(directory, 'log')
  const lines: string[] = []
  const stop = follow(file, line => lines.push(line))
  const ä = Buffer.from('ä')
  appendFileSync(file, Buffer.concat([Buffer.from('one\ntw'), ä.subarray(0, 1)]))
  await waitUntil('the first is there', () => lines.length === 1)
  appendFileSync(file, Buffer.concat([ä.subarray(1), Buffer.from('o\nthree')]))
  await waitUntil('the second is there', () => lines.length === 2)
  stop()
  expect(lines).toEqual(['one', 'twäo'])
  rmSync(directory, { recursive: true })
})
