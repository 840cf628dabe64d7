/**
 * Four floors: main > edges > hypervisor, sdk > cloud, protocol, config. Imports point down, never in a circle, and
 * edge rooms meet in main.ts only.
 */
import { readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { describe, expect, it } from 'vitest'

const root = join(import.meta.dirname, '..', 'src')
const edges = ['store', 'gateway', 'peers', 'api', 'metrics', 'mothership', 'rain-server', 'balancer', 'cli', 'console']
const floors: Readonly<Record<string, number>> = {
  main: 3,
  ...Object.fromEntries(edges.map(room => [room, 2])),
  hypervisor: 1,
  sdk: 1,
  cloud: 0,
  protocol: 0,
  config: 0,
}
/** What a room of the ground floor may use of its own floor. */
const groundFloor: Readonly<Record<string, readonly string[]>> = { config: ['cloud'], cloud: [], protocol: [] }

interface Import {
  readonly from: string
  readonly to: string
}

const files = readdirSync(root, { recursive: true, encoding: 'utf8' }).filter(file => file.endsWith('.ts'))
const room = (file: string): string => file.split('/')[0]!.replace(/\.ts$/, '')

function importsOf(file: string): Import[] {
  const text = readFileSync(join(root, file), 'utf8')
  const specifiers = [...text.matchAll(/(?:from|import)\s*\(?\s*'(\.[^']+)'/g)].map(match => match[1]!)
  return specifiers.map(to => ({
    from: file,
    to: relative(root, join(root, dirname(file), to)).replace(/\.js$/, '.ts'),
  }))
}

const imports = files.flatMap(importsOf)

function stray({ from, to }: Import): string | undefined {
  const [a, b] = [room(from), room(to)]
  if (a === b) return undefined
  const [high, low] = [floors[a], floors[b]]
  if (high === undefined || low === undefined) return `${from} -> ${to}: a room without a floor`
  if (high === 0) return groundFloor[a]?.includes(b) ? undefined : `${from} -> ${to}: the ground floor stands alone`
  if (high > low) return undefined
  return `${from} -> ${to}: points ${high === low ? 'sideways' : 'up'}`
}

function circle(): string | undefined {
  const edgesOf = (file: string): string[] => imports.filter(each => each.from === file).map(each => each.to)
  const done = new Set<string>()
  const visit = (file: string, path: readonly string[]): string | undefined => {
    if (path.includes(file)) return [...path.slice(path.indexOf(file)), file].join(' -> ')
    if (done.has(file)) return undefined
    done.add(file)
    for (const next of edgesOf(file)) {
      const found = visit(next, [...path, file])
      if (found) return found
    }
    return undefined
  }
  for (const file of files) {
    const found = visit(file, [])
    if (found) return found
  }
  return undefined
}

describe('imports', () => {
  it('point down, and edge rooms meet in main only', () => {
    expect(imports.length).toBeGreaterThan(10)
    expect(imports.map(stray).filter(each => each !== undefined)).toEqual([])
  })

  it('never form a circle', () => {
    expect(circle()).toBeUndefined()
  })

  it('reach etcd3 from the transport only', () => {
    const users = files.filter(file => /from 'etcd3'/.test(readFileSync(join(root, file), 'utf8')))
    expect(users.filter(file => file !== 'store/transport.ts')).toEqual([])
  })

  it('read the environment in config and at the root only', () => {
    const users = files.filter(file => /process\.env/.test(readFileSync(join(root, file), 'utf8')))
    expect(users.filter(file => !/^(config|main)(\/|\.ts)/.test(file))).toEqual([])
  })
})
