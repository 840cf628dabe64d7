/** The command as a user runs it, built. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { digestOfPackage } from '../../src/cloud/component/archive.js'
import { runRain } from '../support/cloud.js'

let directory: string
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'rain-package-'))
  writeFileSync(join(directory, 'meta.json'), '{"id": "news", "version": "1.0"}')
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

async function rain(...args: readonly string[]): Promise<{ code: number; said: string }> {
  const run = runRain(args)
  return { code: await run.ended, said: run.said() }
}

describe('rain validate', () => {
  it('says that a component is right, or all that is wrong with it, as an editor opens it', async () => {
    expect(await rain('validate', directory)).toMatchObject({ code: 0, said: expect.stringContaining('news/1.0') })

    writeFileSync(join(directory, 'meta.json'), '{\n"id": "news",\n"version": "x", "runtime": "y"}')
    expect(await rain('validate', directory)).toEqual({
      code: 1,
      said:
        `${directory}/meta.json:3:1: /version: "x" is not a version: two or three numbers, like "1.0" or "1.0.2"\n` +
        `${directory}/meta.json:3:17: /runtime: must be node\n`,
    })
    const { code, said } = await rain('validate', directory, '--json')
    expect([code, JSON.parse(said)[1]]).toEqual([
      1,
      { path: 'meta.json#/runtime', line: 3, column: 17, message: 'must be node' },
    ])
  })
})

describe('rain pack', () => {
  it('writes a package that is the same each time, and none of what is wrong', async () => {
    const file = join(directory, '.out.tgz')
    const { code, said } = await rain('pack', directory, '--out', file)
    const digest = digestOfPackage(readFileSync(file))
    expect([code, said]).toEqual([0, expect.stringContaining(digest)])
    expect(await rain('validate', file)).toMatchObject({ code: 0 })
    await rain('pack', directory, '--out', file)
    expect(digestOfPackage(readFileSync(file))).toBe(digest)

    rmSync(file)
    writeFileSync(join(directory, 'meta.json'), '{')
    expect(await rain('pack', directory, '--out', file)).toMatchObject({ code: 1 })
    expect(() => readFileSync(file)).toThrow('ENOENT')
    expect(await rain('pack', join(directory, 'nothing'))).toEqual({
      code: 1,
      said: `rain: there is no ${directory}/nothing: give a package (.tgz) or the directory of a component\n`,
    })
  })
})
