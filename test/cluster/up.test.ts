/** `rain up` and `rain down` as users meet them: sizes, neighbours, Ctrl-C, crashes, and what cannot work. */
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { freePortBase, processesOf, runRain, runUp, startCloud, type TestCloud } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'

const small = ['--etcd', '1', '--replicas', '1', '--motherships', '1', '--rain-servers', '1']

const clouds: TestCloud[] = []
const directories: string[] = []
afterEach(async () => {
  for (const cloud of clouds.splice(0)) await cloud.close()
  for (const directory of directories.splice(0)) rmSync(directory, { recursive: true, force: true })
})

async function aCloud(...options: Parameters<typeof startCloud>): Promise<TestCloud> {
  const cloud = await startCloud(...options)
  clouds.push(cloud)
  return cloud
}

function aDirectory(): string {
  const directory = mkdtempSync(join(tmpdir(), 'rain-up-'))
  directories.push(directory)
  return directory
}

const noneLeft = (directory: string): Promise<void> =>
  waitUntil('no process is left', async () => (await processesOf(directory)).length === 0, 10_000)

/** One line, naming what is wrong. */
function expectOneLine(said: string, ...parts: readonly (string | RegExp)[]): void {
  const lines = said.split('\n').filter(line => line.startsWith('rain: '))
  expect(lines).toHaveLength(1)
  for (const part of parts) expect(lines[0]).toMatch(part)
}

describe('up', () => {
  it('runs beside another cloud, and each ends without leaving a process', async () => {
    const one = await aCloud({ args: small })
    const two = await aCloud({ args: small })
    for (const cloud of [one, two]) {
      expect((await fetch(`${cloud.state().pages}/shop/index`)).status).toBe(200)
      expect(statSync(join(cloud.dataDir, 'up.json')).mode & 0o777).toBe(0o600)
    }
    expect(await one.stop()).toBe(0)
    await noneLeft(one.dataDir)
    expect((await fetch(`${two.state().pages}/shop/index`)).status).toBe(200)
    expect(await two.stop()).toBe(0)
    await noneLeft(two.dataDir)
  }, 120_000)

  it('leaves no process when Ctrl-C is pressed again and again', async () => {
    const cloud = await aCloud({ args: small })
    const { supervisor } = cloud.state()
    const code = cloud.stop()
    await waitUntil('it stops', () => cloud.said().includes('stopping'))
    for (const name of ['SIGINT', 'SIGTERM', 'SIGINT'] as const) process.kill(supervisor, name)
    expect(await code).toBe(0)
    await noneLeft(cloud.dataDir)
  }, 120_000)

  it('comes back with everything that it had', async () => {
    const dataDir = aDirectory()
    const portBase = await freePortBase()
    const first = await aCloud({ args: small, dataDir, portBase })
    const made = runRain(['run', 'footer', '--data-dir', dataDir])
    expect(await made.ended).toBe(0)
    const [instance = ''] = made.said().split(' ')
    await first.stop()
    await aCloud({ args: small, dataDir, portBase })
    const shown = runRain(['get', 'instances', instance, '--data-dir', dataDir])
    expect([await shown.ended, shown.said()]).toEqual([0, expect.stringContaining(instance)])
  }, 120_000)

  it('goes to the background with --detach, and down ends it', async () => {
    const dataDir = aDirectory()
    const up = runUp([...small, '--detach', '--data-dir', dataDir, '--port-base', String(await freePortBase())])
    expect([await up.ended, up.said()]).toEqual([0, expect.stringMatching(/^ready$/m)])
    expect(up.said()).toMatch(/admin token rain_[\w-]{43}$/m)
    expect(readFileSync(join(dataDir, 'logs', 'up.log'), 'utf8')).not.toContain('rain_')
    const again = runUp([...small, '--data-dir', dataDir])
    expect(await again.ended).toBe(1)
    expectOneLine(again.said(), 'runs in', 'rain down')
    const down = runRain(['down', '--data-dir', dataDir])
    expect([await down.ended, down.said()]).toEqual([0, 'stopped\n'])
    await noneLeft(dataDir)
    expect(existsSync(join(dataDir, 'up.json'))).toBe(false)
  }, 120_000)

  it('is cleared away by down after a crash of up itself', async () => {
    const cloud = await aCloud({ args: small })
    process.kill(cloud.state().supervisor, 'SIGKILL')
    await waitUntil('up is gone', async () => !(await processesOf(cloud.dataDir)).includes(cloud.state().supervisor))
    expect((await fetch(`${cloud.state().pages}/shop/index`)).status).toBe(200)
    const down = runRain(['down', '--data-dir', cloud.dataDir])
    expect([await down.ended, down.said()]).toEqual([0, expect.stringContaining('left over')])
    await noneLeft(cloud.dataDir)
  }, 120_000)
})

describe('what cannot work', () => {
  it('a port that is taken: says which, starts nothing, claims nothing', async () => {
    const dataDir = aDirectory()
    const base = await freePortBase()
    const server = createServer().listen(base + 1, '127.0.0.1')
    const up = runUp([...small, '--data-dir', dataDir, '--port-base', String(base)])
    expect(await up.ended).toBe(1)
    server.close()
    expectOneLine(up.said(), `port ${base + 1} `, '--port-base')
    expect(existsSync(join(dataDir, 'etcd'))).toBe(false)
    await noneLeft(dataDir)
  })

  it('a data directory that cannot be written', async () => {
    const file = join(aDirectory(), 'file')
    writeFileSync(file, '')
    const up = runUp([...small, '--data-dir', file])
    expect(await up.ended).toBe(1)
    expectOneLine(up.said(), '--data-dir', 'cannot be written')
  })

  it('programs that are not installed: says which package holds them', async () => {
    const path = aDirectory()
    const up = runRain(['up', ...small, '--data-dir', aDirectory()], { PATH: path })
    expect(await up.ended).toBe(1)
    expectOneLine(up.said(), 'etcd', 'haproxy', 'prometheus', 'apt-get install')
  })

  it('a program that does not stay up: gives up, says its last words, leaves nothing', async () => {
    const [path, dataDir] = [aDirectory(), aDirectory()]
    writeFileSync(join(path, 'etcd'), '#!/bin/sh\necho "error: this etcd is broken" >&2\nexit 1\n')
    chmodSync(join(path, 'etcd'), 0o755)
    const env = { PATH: `${path}:${process.env['PATH']}` }
    const base = String(await freePortBase())
    const up = runRain(['up', ...small, '--data-dir', dataDir, '--port-base', base], env)
    expect(await up.ended).toBe(1)
    expectOneLine(up.said(), 'etcd-e1 does not stay up', 'this etcd is broken')
    await noneLeft(dataDir)
  }, 60_000)

  it('a data directory of a cloud with other sizes', async () => {
    const dataDir = aDirectory()
    mkdirSync(join(dataDir, 'etcd'))
    writeFileSync(join(dataDir, 'cloud.json'), JSON.stringify({ etcd: 3, portBase: 7000 }))
    const up = runUp([...small, '--data-dir', dataDir, '--port-base', String(await freePortBase())])
    expect(await up.ended).toBe(1)
    expectOneLine(up.said(), '--etcd 3 --port-base 7000')
    expect(JSON.parse(readFileSync(join(dataDir, 'cloud.json'), 'utf8'))).toEqual({ etcd: 3, portBase: 7000 })
  })

  it('sizes that make no sense', async () => {
    for (const args of [
      ['--etcd', '2'],
      ['--replicas', '0'],
      ['--port-base', '99999'],
      ['--motherships', 'many'],
    ]) {
      const up = runUp([...args, '--data-dir', join(aDirectory(), 'none')])
      expect(await up.ended).not.toBe(0)
      expect(up.said()).toContain(args[0])
    }
  })

  it('roles: etcd that is not reachable, a port that is taken, options that are missing', async () => {
    const directory = aDirectory()
    const secret = join(directory, 'secret')
    writeFileSync(secret, 'a-secret')
    const taken = createServer().listen(0, '127.0.0.1')
    await waitUntil('it listens', () => taken.listening)
    const port = String((taken.address() as { port: number }).port)
    const dead = 'http://127.0.0.1:1'
    const common = ['--id', 'x', '--port', port, '--token-file', secret, '--metrics-port', '0', '--hypervisor', dead]

    const hypervisor = runRain([
      'hypervisor',
      '--id',
      'h',
      '--port',
      port,
      '--etcd',
      dead,
      '--peer-secret-file',
      secret,
    ])
    const server = runRain(['server', ...common])
    const mothership = runRain(['mothership', ...common, '--data-dir', join(directory, 'm')])
    const balancer = runRain(['balancer', '--id', 'b'])
    expect([await server.ended, await mothership.ended, await balancer.ended]).toEqual([1, 1, 1])
    expectOneLine(server.said(), `cannot listen on 127.0.0.1:${port}`, 'another program')
    expectOneLine(mothership.said(), `cannot listen on 127.0.0.1:${port}`)
    expectOneLine(balancer.said(), '--port', 'RAIN_PORT', '--token-file')
    expect(await hypervisor.ended).toBe(1)
    expectOneLine(hypervisor.said(), 'etcd cannot be reached at http://127.0.0.1:1')
    taken.close()
  }, 60_000)
})

describe('the command', () => {
  it('has help everywhere, which names every option', async () => {
    const commands = [
      '',
      'hypervisor',
      'mothership',
      'server',
      'balancer',
      'up',
      'down',
      'get',
      'deploy',
      'run',
      'stop',
      'top',
      'explain',
      'clone',
      'cordon',
      'uncordon',
      'drain',
      'rebalance',
      'settings',
    ]
    for (const command of commands) {
      const help = runRain([...(command === '' ? [] : [command]), '--help'])
      expect([command, await help.ended]).toEqual([command, 0])
      expect(help.said()).toContain('--help')
      expect(help.said().split('\n').length).toBeGreaterThan(4)
    }
  })

  it.each([
    [['get'], "argument 'kind'"],
    [['gett'], 'gett'],
    [['up', 'now'], 'too many arguments'],
    [['up', '--etcd', '2'], '--etcd'],
    [['up', '--data-dir', ''], '--data-dir'],
    [['server', '--id'], '--id'],
    [['get', 'motherships', 'all'], '"all"'],
    [['get', 'instances', ''], '""'],
    [['get', 'components', 'footer/1.0/descriptor'], 'footer/1.0/descriptor'],
    [['run', 'footer/1.0/index'], 'footer/1.0/index'],
    [['run', 'footer/'], 'footer/'],
    [['explain', 'footer/1.0/index'], 'footer/1.0/index'],
    [['drain', 'm1', '--deadline', 'soon'], '--deadline'],
    [['rebalance', '--moves', '0'], '--moves'],
    [['settings', 'rebalance.minGain.x=1'], 'group.name=value'],
  ])('%j is answered in one line, which names what is wrong', async (args, named) => {
    const nowhere = ['get', 'run', 'explain'].includes(args[0]!) ? ['--url', 'http://127.0.0.1:1', '--token', 'x'] : []
    const { ended, said } = runRain([...args, ...nowhere])
    expect(await ended).toBe(1)
    expectOneLine(said(), named)
    expect(said().trim().split('\n')).toHaveLength(1)
  })
})
