/** What the process of a component has, may take, and leaves behind. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmdirSync, rmSync, statSync } from 'node:fs'
import { getPriority, tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { Confinement } from '../../src/mothership/confinement.js'
import { MemoryGroups } from '../../src/mothership/memory-groups.js'
import { builtWorker } from '../support/build.js'
import { answerOf, isAlive, rendering, TestComponents } from '../support/confined.js'
import { waitUntil } from '../support/etcd.js'
import { testClock } from '../support/plain-store.js'

let components: TestComponents

beforeEach(() => {
  components = new TestComponents()
})
afterEach(() => components.stop())

const isRoot = process.getuid?.() === 0

/** Of all its threads, and of its group where the kernel has groups. */
function nices(pid: number): number[] {
  const threads = readdirSync(`/proc/${pid}/task`).map(each => getPriority(Number(each)))
  const group = existsSync(`/proc/${pid}/autogroup`) ? readFileSync(`/proc/${pid}/autogroup`, 'utf8') : ''
  const [, nice] = /nice (-?\d+)/.exec(group) ?? []
  return nice === undefined ? threads : [...threads, Number(nice)]
}

const spawnSleep = `
  const { pid } = require('child_process').spawn('sleep', ['1000'], { stdio: 'inherit' })
  answer(pid)
`

describe('the process of a component', () => {
  it('has nothing of its mothership: no variable, argument or open file', async () => {
    process.env['RAIN_TOKEN_FOR_TEST'] = 'hidden'
    const component = await components.start({
      look: `
        const fs = require('fs')
        const files = fs.readdirSync('/proc/self/fd').flatMap(fd => {
          try { return [fs.readlinkSync('/proc/self/fd/' + fd)] } catch { return [] }
        })
        answer({ env: process.env, argv: process.argv, execArgv: process.execArgv, files })
      `,
    })
    delete process.env['RAIN_TOKEN_FOR_TEST']
    const seen = await answerOf<{ env: object; argv: string[]; execArgv: string[]; files: string[] }>(component, 'look')

    const own = ['HOME', 'LANG', 'NODE_ENV', 'TMPDIR', 'NODE_CHANNEL_FD', 'NODE_CHANNEL_SERIALIZATION_MODE']
    expect(Object.keys(seen.env).filter(name => !own.includes(name))).toEqual([])
    expect(Object.keys(JSON.parse(seen.argv[2]!) as object).sort()).toEqual(['directory', 'mothership'])
    expect(seen.argv).toHaveLength(3)
    expect(seen.execArgv.every(each => /^--max-(old|semi)-space-size=\d+$/.test(each))).toBe(true)
    expect(seen.files.filter(each => !/^(pipe|socket|anon_inode):|^\/dev\/null$|^\/proc\//.test(each))).toEqual([])
  })

  it.skipIf(!isRoot)(
    'stands behind the others after a death, and beside them again when it is trusted (needs root)',
    async () => {
      const functions = { end: 'process.exit(1)', well: `answer('well')` }
      const component = await components.start(functions)
      expect(new Set(nices(component.pid!))).toEqual(new Set([0]))
      const { pid } = component
      expect(await rendering(component, 'end')).toMatchObject({ kind: 'failed', status: 502 })
      await waitUntil('it runs again', () => component.state.kind === 'ready' && component.pid !== pid)
      expect(new Set(nices(component.pid!))).toEqual(new Set([10]))
      expect(await answerOf(component, 'well')).toBe('well')

      const confined = components.confinement.start({ directory: components.root, mothership: 'm1' }, 32, true)
      confined.child.on('error', () => undefined)
      expect(nices(confined.child.pid!)).toContain(10)
      confined.standBesideOthers()
      expect(new Set(nices(confined.child.pid!))).toEqual(new Set([0]))
      await confined.clear()
    },
  )

  it('works in a directory of its own, which goes with it', async () => {
    const functions = {
      write: `require('fs').writeFileSync('kept', 'x'); answer(process.cwd())`,
      temporary: `answer([require('os').tmpdir(), require('os').homedir()])`,
    }
    const component = await components.start(functions)
    const other = await components.start(functions)
    const directory = await answerOf<string>(component, 'write')

    expect(dirname(directory)).toBe(join(components.root, 'scratch'))
    expect(await answerOf(component, 'temporary')).toEqual([directory, directory])
    expect(existsSync(join(directory, 'kept'))).toBe(true)
    await component.stop()
    expect(existsSync(directory)).toBe(false)
    expect(existsSync(await answerOf<string>(other, 'write'))).toBe(true)
  })

  it('leaves none of its directories, and starts in an empty one, when it dies', async () => {
    const component = await components.start({
      write: `require('fs').writeFileSync('kept', 'x'); answer(process.cwd())`,
      list: `answer(require('fs').readdirSync('.'))`,
      die: 'process.exit(3)',
    })
    const directory = await answerOf<string>(component, 'write')
    expect(await rendering(component, 'die')).toMatchObject({ reason: expect.stringContaining('exit code 3') })
    await waitUntil('it runs again', () => component.state.kind === 'ready')

    expect(await answerOf(component, 'list')).toEqual([])
    await waitUntil('its directory is gone', () => !existsSync(directory))
    expect(readdirSync(join(components.root, 'scratch'))).toHaveLength(1)
  })

  it('ends with everything that it started, however it ends', async () => {
    const functions = { start: spawnSleep, die: 'process.exit(0)', loop: 'for (;;);' }
    for (const how of ['die', 'loop', 'stop'] as const) {
      const component = await components.start(functions)
      const pid = await answerOf<number>(component, 'start')
      expect(isAlive(pid)).toBe(true)
      await (how === 'stop' ? component.stop() : rendering(component, how))
      await waitUntil(`what it started has ended with it (${how})`, () => !isAlive(pid))
    }
  })

  it('is not kept from being told why it died by what it started', async () => {
    const component = await components.start({
      start: spawnSleep,
      die: "setTimeout(() => { throw new TypeError('no such thing') })",
    })
    await answerOf<number>(component, 'start')

    expect(await rendering(component, 'die')).toEqual({
      kind: 'failed',
      status: 502,
      reason: 'the process of the component died (exit code 1: TypeError: no such thing)',
    })
  })
})

describe('the memory of a component', () => {
  const functions = {
    // Outside of V8's heap, so that V8's limit has no say.
    buffers: `
      global.kept = []
      const take = () => { kept.push(Buffer.alloc(4_000_000, 1)); if (kept.length < context.count) setImmediate(take); else answer(kept.length) }
      take()
    `,
    burst: 'global.kept = []; for (;;) kept.push(new Array(100_000).fill(kept.length + 0.5))',
    garbage: `
      let left = 150
      const make = () => { Buffer.alloc(2_000_000, 1); new Array(50_000).fill(left + 0.5); if (left-- > 0) setImmediate(make); else answer('done') }
      make()
    `,
    child: `
      const code = 'const kept = []; for (let i = 0; i < 60; i++) kept.push(Buffer.alloc(4_000_000, 1)); setInterval(() => kept, 1000)'
      answer(require('child_process').spawn(process.execPath, ['-e', code], { stdio: 'ignore' }).pid)
    `,
  }

  it('is bounded: who takes too much is killed, with the reason', async () => {
    const component = await components.start(functions)

    expect(await rendering(component, 'buffers', { count: 1_000 })).toMatchObject({
      kind: 'failed',
      status: 502,
      reason: expect.stringMatching(/^the process of the component died \(used \d+ MiB of 128\)$/),
    })
  })

  it('is bounded while nobody can be told of it', async () => {
    const component = await components.start(functions)

    // Whichever comes first, on a busy machine: memory that is full, or the loop that fills it.
    expect(await rendering(component, 'burst')).toMatchObject({
      status: 502,
      reason: expect.stringMatching(/used \d+ MiB of 128|stalled|used all/),
    })
    await waitUntil('it runs again', () => component.state.kind === 'ready')
  })

  it('is that of all which it started', async () => {
    const component = await components.start(functions)
    const pid = await answerOf<number>(component, 'child')

    await waitUntil('both are killed', () => !isAlive(pid))
    await waitUntil('that is said', () =>
      components.log.entries.some(each => /^used \d+ MiB of 128$/.test((each.fields as { reason?: string }).reason!)),
    )
  })

  it('follows what its instances ask for', async () => {
    const component = await components.start(functions)
    const { pid } = component
    component.asks(400)
    expect(await answerOf(component, 'buffers', { count: 50 })).toBe(50)
    component.asks(32)

    await waitUntil('it is killed', () => component.pid !== pid)
    await waitUntil('it runs again', () => component.state.kind === 'ready')
  })

  it('is not what its garbage takes', async () => {
    const component = await components.start(functions)

    expect(await answerOf(component, 'garbage')).toBe('done')
    expect(component.restarts).toBe(0)
  })
})

describe('a component that is busy', () => {
  const functions = { never: '', quick: "answer('quick')", loop: 'for (;;);' }

  it('refuses at once what is more than its queue takes', async () => {
    const component = await components.start(functions)
    for (let i = 0; i < 256; i++) void rendering(component, 'never')

    expect(await rendering(component, 'quick')).toEqual({
      kind: 'failed',
      status: 503,
      reason: 'busy: 256 calls are under way',
    })
  })

  it('refuses at once while it shows no sign of life, and serves again after it was killed', async () => {
    const component = await components.start(functions)
    const looping = rendering(component, 'loop')
    await waitUntil('it refuses', async () => {
      const result = await component.render({ instance: 'news.1', view: 'quick', context: {} }, 50)
      return result.kind === 'failed' && result.reason === 'busy: it does not answer'
    })

    expect(await looping).toMatchObject({ status: 502, reason: expect.stringContaining('stalled') })
    await waitUntil('it runs again', () => component.state.kind === 'ready')
    expect(await answerOf(component, 'quick')).toBe('quick')
  })
})

describe('a component that talks past its renderer', () => {
  const functions = {
    nonsense: "for (let i = 0; i < 1_000; i++) process.send({ k: 'king', i })",
    flood:
      "const say = () => { for (let i = 0; i < 1_000; i++) process.send({ k: 'pong', n: 0 }); setImmediate(say) }; say()",
    quick: "answer('quick')",
  }

  it.each([
    ['nonsense', /says again and again what cannot be understood/],
    // What is not read as fast as it is said takes memory.
    ['flood', /said more than 5000 things in 250 ms|used \d+ MiB/],
  ])('is killed for %s, and the others are answered', async (view, reason) => {
    const [loud, quiet] = [await components.start(functions), await components.start(functions)]
    const result = rendering(loud, view)
    expect(await answerOf(quiet, 'quick')).toBe('quick')

    expect(await result).toMatchObject({ status: 502, reason: expect.stringMatching(reason) })
    await waitUntil('it runs again', () => loud.state.kind === 'ready')
    expect(await answerOf(loud, 'quick')).toBe('quick')
  })
})

const workerIsOpen = (): boolean => {
  for (let path = dirname(builtWorker); path !== dirname(path); path = dirname(path)) {
    if ((statSync(path).mode & 0o001) === 0) return false
  }
  return true
}

describe('--component-uid', () => {
  it.skipIf(!isRoot || !workerIsOpen())(
    'gives each process a user of its own, that comes to its own files only (needs root, and a program that others can read)',
    async () => {
      const some = new TestComponents({ uids: { first: 60_000, last: 60_001 } })
      try {
        const functions = {
          who: 'answer([process.getuid(), process.getgid(), process.getgroups()])',
          attempt: `
            const fs = require('fs')
            try { context.write ? fs.writeFileSync(context.write, 'x') : fs.readFileSync(context.read); answer('done') }
            catch (error) { answer(error.code) }
          `,
          directory: 'answer(process.cwd())',
          kill: 'try { process.kill(context.pid); answer("done") } catch (error) { answer(error.code) }',
        }
        const [one, two] = [await some.start(functions), await some.start(functions)]
        const whose = [await answerOf(one, 'who'), await answerOf(two, 'who')]
        expect(whose).toEqual([60_000, 60_001].map(uid => [uid, uid, [uid]]))

        const own = await answerOf<string>(one, 'directory')
        expect(await answerOf(one, 'attempt', { write: join(own, 'own') })).toBe('done')
        expect(await answerOf(two, 'attempt', { read: join(own, 'own') })).toBe('EACCES')
        expect(await answerOf(one, 'attempt', { write: join(some.root, 'package-0/server/data.js') })).toBe('EACCES')
        expect(await answerOf(one, 'attempt', { read: `/proc/${process.pid}/environ` })).toBe('EACCES')
        expect(await answerOf(one, 'attempt', { read: `/proc/${two.pid}/environ` })).toBe('EACCES')
        expect(await answerOf(one, 'kill', { pid: two.pid })).toBe('EPERM')

        await expect(some.start(functions)).rejects.toThrow('60000-60001')
        await one.stop()
        expect(await answerOf(await some.start(functions), 'who')).toEqual([60_000, 60_000, [60_000]])
      } finally {
        await some.stop()
      }
    },
  )

  it.skipIf(!isRoot)('is refused where other users cannot come to the data (needs root)', () => {
    const dataDir = mkdtempSync(join(tmpdir(), 'rain-closed-'))
    const uids = { first: 60_000, last: 60_000 }
    try {
      const confinement = new Confinement({ ...common(dataDir), uids })
      expect(() => confinement.open()).toThrow(`other users cannot enter ${dataDir}`)
    } finally {
      rmSync(dataDir, { recursive: true })
    }
  })
})

const common = (dataDir: string): ConstructorParameters<typeof Confinement>[0] => ({
  mothership: 'm1',
  dataDir,
  workerPath: builtWorker,
  clock: testClock,
  log: components.log,
})

/** A control group with memory that may be written, of either version; undefined where there is none. */
function writableCgroup(): string | undefined {
  for (const mount of ['/sys/fs/cgroup/memory', '/sys/fs/cgroup']) {
    const path = join(mount, `rain-test-${process.pid}`)
    try {
      mkdirSync(path)
      const fits = existsSync(join(path, 'memory.limit_in_bytes')) || existsSync(join(path, 'memory.max'))
      rmdirSync(path)
      if (fits) return path
    } catch {
      // Not here, then.
    }
  }
  return undefined
}

const boundOf = (group: string): number =>
  Number(
    ['memory.limit_in_bytes', 'memory.max']
      .map(name => join(group, name))
      .filter(existsSync)
      .map(path => readFileSync(path, 'utf8'))[0],
  )
const membersOf = (group: string): number[] =>
  readFileSync(join(group, 'cgroup.procs'), 'utf8').trim().split('\n').map(Number)

describe('--component-cgroup', () => {
  const cgroup = writableCgroup()
  beforeAll(() => {
    if (cgroup !== undefined) mkdirSync(cgroup)
  })
  afterAll(() => {
    if (cgroup !== undefined) rmdirSync(cgroup)
  })

  it.skipIf(cgroup === undefined)(
    'has the kernel bound the memory of each process, and ends what escapes (needs a control group that can be written)',
    async () => {
      const some = new TestComponents({ cgroup: cgroup! })
      const groups = (): string[] => readdirSync(cgroup!).filter(each => each.startsWith('rain-m1-'))
      try {
        const component = await some.start({
          escape: `
            const options = { detached: true, stdio: 'ignore' }
            answer(require('child_process').spawn('sleep', ['1000'], options).pid)
          `,
        })
        const [group] = groups()
        const [max, members] = [boundOf(join(cgroup!, group!)), membersOf(join(cgroup!, group!))]
        expect([max, members]).toEqual([192 * 2 ** 20, [component.pid]])
        component.asks(400)
        expect(boundOf(join(cgroup!, group!))).toBe(696 * 2 ** 20)
        const escaped = await answerOf<number>(component, 'escape')
        expect(isAlive(escaped)).toBe(true)
        await component.stop()
        expect(isAlive(escaped)).toBe(false)
        expect(groups()).toEqual([])
      } finally {
        await some.stop()
      }
    },
  )

  it.skipIf(cgroup === undefined)(
    'tells who was ended for its memory (needs a control group that can be written)',
    async () => {
      const group = new MemoryGroups(cgroup!, 'rain-m2').create()
      group.bound(100)
      const code =
        'const kept = []; process.stdin.once("data", () => { for (;;) kept.push(Buffer.alloc(4_000_000, 1)) })'
      const child = spawn(process.execPath, ['-e', code], { stdio: ['pipe', 'ignore', 'ignore'] })
      group.add(child.pid!)
      expect(group.outOfMemory).toBe(false)
      const ended = once(child, 'exit')
      child.stdin.write('now')

      expect(await ended).toEqual([null, 'SIGKILL'])
      expect(group.outOfMemory).toBe(true)
      await group.remove()
      expect(existsSync(group.path)).toBe(false)
    },
  )

  it('is refused where it is no control group with memory', () => {
    const confinement = new Confinement({ ...common(components.root), cgroup: components.root })

    expect(() => confinement.open()).toThrow(`--component-cgroup ${components.root}`)
  })
})
