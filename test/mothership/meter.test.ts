/** What is measured, on file systems made up for it, and on the real one of this machine. */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, tmpdir, totalmem } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { readCgroup } from '../../src/mothership/cgroup.js'
import { machineTraffic, machineUsage } from '../../src/mothership/machine.js'
import { Meter, type MeterPorts } from '../../src/mothership/meter.js'

const roots: string[] = []
afterEach(() => {
  for (const root of roots.splice(0)) rmSync(root, { recursive: true, force: true })
})

function files(contents: Readonly<Record<string, string>>): string {
  const root = mkdtempSync(join(tmpdir(), 'rain-meter-'))
  roots.push(root)
  for (const [path, text] of Object.entries(contents)) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return root
}

describe('a control group', () => {
  it('of version 2 limits as the tightest of the groups around it, and tells what is used without the cache', () => {
    const root = files({
      'proc/self/cgroup': '0::/pods/one\n',
      'sys/fs/cgroup/cgroup.controllers': 'cpu memory\n',
      'sys/fs/cgroup/pods/cpu.max': '150000 100000\n',
      'sys/fs/cgroup/pods/memory.max': '1073741824\n',
      'sys/fs/cgroup/pods/one/cpu.max': 'max 100000\n',
      'sys/fs/cgroup/pods/one/memory.max': '2147483648\n',
      'sys/fs/cgroup/pods/one/cpu.stat': 'usage_usec 2500000\nuser_usec 1\n',
      'sys/fs/cgroup/pods/one/memory.current': '209715200\n',
      'sys/fs/cgroup/pods/one/memory.stat': 'anon 1\ninactive_file 104857600\n',
    })
    const group = readCgroup(root)!
    expect([group.cpuMillicores, group.ramMiB]).toEqual([1500, 1024])
    expect(group.usage()).toEqual({ cpuMs: 2500, ramMiB: 100 })
  })

  it('of version 1 does so too', () => {
    const root = files({
      'proc/self/cgroup': '4:memory:/box\n3:cpu,cpuacct:/box\n',
      'sys/fs/cgroup/cpu/box/cpu.cfs_quota_us': '50000\n',
      'sys/fs/cgroup/cpu/box/cpu.cfs_period_us': '100000\n',
      'sys/fs/cgroup/cpuacct/box/cpuacct.usage': '3000000000\n',
      'sys/fs/cgroup/memory/box/memory.limit_in_bytes': '536870912\n',
      'sys/fs/cgroup/memory/memory.limit_in_bytes': '9223372036854771712\n',
      'sys/fs/cgroup/memory/box/memory.usage_in_bytes': '10485760\n',
    })
    const group = readCgroup(root)!
    expect([group.cpuMillicores, group.ramMiB]).toEqual([500, 512])
    expect(group.usage()).toEqual({ cpuMs: 3000, ramMiB: 10 })
  })

  it('in a container is what is mounted there, whatever path the host calls it by', () => {
    const root = files({
      'proc/self/cgroup': '0::/../../docker/abc\n',
      'sys/fs/cgroup/cgroup.controllers': 'cpu memory\n',
      'sys/fs/cgroup/memory.max': '1048576000\n',
      'sys/fs/cgroup/cpu.max': '200000 100000\n',
    })
    expect(readCgroup(root)).toMatchObject({ cpuMillicores: 2000, ramMiB: 1000 })
    expect(readCgroup(root)!.usage()).toBeUndefined()
  })

  it('without limits, or none at all, limits nothing', () => {
    expect(readCgroup(files({}))).toBeUndefined()
    const root = files({ 'proc/self/cgroup': '0::/\n', 'sys/fs/cgroup/cgroup.controllers': '\n' })
    expect(readCgroup(root)).toMatchObject({ cpuMillicores: undefined, ramMiB: undefined })
  })
})

describe('the machine', () => {
  it('tells its cpu, its memory, and the bytes of its own interfaces', () => {
    const root = files({
      'proc/stat': 'cpu  100 0 50 9000 10 5 5 0 0 0\ncpu0 1 1 1 1\n',
      'proc/meminfo': 'MemTotal:       2048000 kB\nMemFree:  1 kB\nMemAvailable:   1024000 kB\n',
      'proc/net/dev':
        'Inter-|   Receive\n face |bytes\n    lo: 9 0 0 0 0 0 0 0 9 0\n  eth0: 1000 1 0 0 0 0 0 0 2000 1 0\n veth1: 7 0 0 0 0 0 0 0 7 0\n',
      'sys/class/net/eth0/device/vendor': 'x',
    })
    expect(machineUsage(root)).toEqual({ cpuMs: 1600, ramMiB: 1000 })
    expect(machineTraffic(root)).toEqual({ bytesIn: 1000, bytesOut: 2000 })
    expect([machineUsage(files({})), machineTraffic(files({}))]).toEqual([undefined, undefined])
  })

  it('is read here as it is', () => {
    const used = machineUsage()!
    expect(used.cpuMs).toBeGreaterThan(0)
    expect(used.ramMiB).toBeGreaterThan(0)
    expect(used.ramMiB).toBeLessThan(totalmem() / 2 ** 20)
    expect(readCgroup()?.cpuMillicores ?? cpus().length * 1000).toBeGreaterThan(0)
  })
})

describe('a mothership', () => {
  const [one, two] = [4_000_001, 4_000_002]
  function aMeter(more: Partial<MeterPorts> = {}) {
    const usages = new Map([
      [process.pid, { cpuMs: 1_000, ramMiB: 50 }],
      [one, { cpuMs: 100, ramMiB: 20 }],
      [two, { cpuMs: 100, ramMiB: 30 }],
    ])
    const links = { bytesIn: 0, bytesOut: 0 }
    const ofComponents = new Map([['news/1.0.0', { bytesIn: 0, bytesOut: 0 }]])
    const meter = new Meter({
      measure: 'processes',
      cgroup: undefined,
      processes: () => [
        { component: 'news/1.0.0', pid: one },
        { component: 'news/1.0.0', pid: two },
      ],
      traffic: () => ({ ...links }),
      componentTraffic: () => new Map([...ofComponents].map(([name, each]) => [name, { ...each }])),
      usageOf: pid => usages.get(pid),
      root: files({}),
      ...more,
    })
    return { meter, usages, links, ofComponents }
  }

  it('measures its processes together, each component, and what goes over its links', () => {
    const { meter, usages, links, ofComponents } = aMeter()
    expect(meter.look(0).self).toEqual({ cpu: 0, ram: 100, bandwidth: { in: 0, out: 0 } })
    usages.set(process.pid, { cpuMs: 1_100, ramMiB: 60 })
    usages.set(one, { cpuMs: 400, ramMiB: 20 })
    usages.set(two, { cpuMs: 200, ramMiB: 30 })
    links.bytesIn = 1_000
    links.bytesOut = 5_000
    ofComponents.set('news/1.0.0', { bytesIn: 500, bytesOut: 2_000 })
    const { self, components, machine } = meter.look(1_000)
    expect(self).toEqual({ cpu: 500, ram: 110, bandwidth: { in: 8, out: 40 } })
    expect(components.get('news/1.0.0')!.cpu).toBe(400)
    expect(machine).toBeUndefined()
    usages.delete(two)
    links.bytesOut = 10
    const later = meter.look(2_000)
    expect(later.self).toEqual({ cpu: 0, ram: 80, bandwidth: { in: 0, out: 0.08 } })
  })

  it('tells the bytes of a component once it has seen it before', () => {
    const { meter, ofComponents } = aMeter()
    meter.look(0)
    ofComponents.set('news/1.0.0', { bytesIn: 500, bytesOut: 2_000 })
    expect(meter.look(1_000).components.get('news/1.0.0')!.bandwidth).toBe(20)
  })

  it('measures its control group, or the machine, when it is told so', () => {
    let cpuMs = 0
    const cgroup = { cpuMillicores: 1, ramMiB: 1, usage: () => ({ cpuMs, ramMiB: 7 }) }
    const group = aMeter({ measure: 'cgroup', cgroup }).meter
    group.look(0)
    cpuMs = 250
    expect(group.look(1_000).self).toMatchObject({ cpu: 250, ram: 7 })

    const root = files({ 'proc/stat': 'cpu  0 0 0 0\n', 'proc/meminfo': 'MemTotal: 2048 kB\nMemAvailable: 1024 kB\n' })
    const whole = aMeter({ measure: 'machine', root }).meter
    whole.look(0)
    writeFileSync(join(root, 'proc/stat'), 'cpu  30 0 20 0\n')
    const { self, machine } = whole.look(1_000)
    expect(self).toMatchObject({ cpu: 500, ram: 1 })
    expect(machine).toEqual(self)
  })

  it('measures its processes where there is no control group to measure', () => {
    expect(aMeter({ measure: 'cgroup' }).meter.look(0).self.ram).toBe(100)
  })
})
