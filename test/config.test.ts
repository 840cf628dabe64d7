import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, it } from 'vitest'
import { CloudError } from '../src/cloud/errors.js'
import { environmentName, type Flags, metricsUrl, options, type RoleName, readConfig } from '../src/config.js'

const dir = mkdtempSync(join(tmpdir(), 'rain-config-'))
afterAll(() => rmSync(dir, { recursive: true }))

function file(name: string, content: string): string {
  const path = join(dir, name)
  writeFileSync(path, content)
  return path
}

const secretFile = file('secret', '  s3cret\n')

const node = { id: 'n1', port: '0', hypervisor: 'http://127.0.0.1:7001', 'token-file': secretFile, 'metrics-port': '0' }
/** What each role cannot do without. */
const least: Readonly<Record<RoleName, Flags>> = {
  hypervisor: { id: 'h1', port: '7001', etcd: 'http://127.0.0.1:2379', 'peer-secret-file': secretFile },
  mothership: { ...node, 'data-dir': '/var/lib/rain' },
  server: node,
  balancer: { ...node, 'data-dir': '/var/lib/rain', 'api-port': '8081' },
}
const roles = Object.keys(least) as RoleName[]

/** What is wrong with it, in the words of the error. */
function complaint(role: RoleName, flags: Flags, environment: Flags = {}): string {
  try {
    readConfig(role, { ...least[role], ...flags }, environment)
  } catch (error) {
    expect(error).toBeInstanceOf(CloudError)
    expect(error).toMatchObject({ code: 'misconfigured' })
    return (error as CloudError).message
  }
  return 'nothing'
}

describe('the configuration', () => {
  it('has a default for all that a role can do without', () => {
    expect(readConfig('hypervisor', least.hypervisor, {})).toEqual({
      id: 'h1',
      host: '127.0.0.1',
      port: 7001,
      logLevel: 'info',
      cluster: 'main',
      etcd: ['http://127.0.0.1:2379'],
      url: 'http://127.0.0.1:7001',
      peerSecret: 's3cret',
      bootstrap: '',
      leaderTtlMs: 2_000,
      presenceTtlMs: 10_000,
      privateMetrics: false,
      incarnation: expect.stringMatching(/^[0-9a-f]{16}$/),
    })
    expect(readConfig('mothership', least.mothership, {})).toEqual({
      id: 'n1',
      host: '127.0.0.1',
      port: 0,
      metricsPort: 0,
      logLevel: 'info',
      hypervisors: ['http://127.0.0.1:7001'],
      token: 's3cret',
      address: 'ws://127.0.0.1:0',
      labels: {},
      dataDir: '/var/lib/rain',
      capacity: { bandwidth: 1_000_000 },
      measure: 'processes',
      network: { pollHoldMs: 20_000 },
    })
    expect(readConfig('server', least.server, {})).toMatchObject({ urls: ['/*'], address: 'http://127.0.0.1:0' })
    expect(readConfig('balancer', least.balancer, {})).toMatchObject({ apiPort: 8081, haproxy: 'haproxy', slots: 32 })
  })

  it('takes proxies from the flag, or from the variables that other programs go by; this machine is reached directly', () => {
    const proxiesOf = (flags: Flags, environment: Flags) =>
      readConfig('mothership', { ...least.mothership, ...flags }, environment).network?.proxy
    const given = 'http://node:secret@proxy.example:3128'
    expect(proxiesOf({}, {})).toBeUndefined()
    expect(proxiesOf({ proxy: `${given}/` }, { NO_PROXY: 'a.example, .b.example' })).toEqual({
      http: given,
      https: given,
      except: ['a.example', '.b.example'],
    })
    expect(proxiesOf({}, { https_proxy: 'proxy.example:3128', NO_PROXY: 'a.example' })).toEqual({
      https: 'http://proxy.example:3128',
      except: ['localhost', '127.0.0.1', '::1', 'a.example'],
    })
    expect(proxiesOf({}, { HTTP_PROXY: given })).toMatchObject({ http: given })
    expect(complaint('server', { proxy: 'proxy.example:3128' })).toBe(
      '--proxy "proxy.example:3128": not like http://host:port',
    )
    expect(complaint('server', {}, { HTTPS_PROXY: 'socks5://me:secret@proxy.example:1' })).toBe(
      'HTTPS_PROXY is not like http://host:port',
    )
    expect(complaint('hypervisor', {}, { HTTPS_PROXY: 'socks5://proxy.example:1' })).toBe('nothing')
  })

  it('takes a flag before the environment, and the environment before the default', () => {
    const environment = { RAIN_LOG_LEVEL: 'debug', RAIN_CLUSTER: 'east', RAIN_LEADER_TTL: '3s' }
    const config = readConfig('hypervisor', { ...least.hypervisor, cluster: 'west' }, environment)
    expect(config).toMatchObject({ logLevel: 'debug', cluster: 'west', leaderTtlMs: 3_000, presenceTtlMs: 10_000 })
  })

  it('can come from the environment alone', () => {
    for (const role of roles) {
      const environment = Object.fromEntries(
        Object.entries(least[role]).map(([flag, text]) => [environmentName(flag), text]),
      )
      const given = readConfig(role, {}, environment)
      expect(given).toEqual({
        ...readConfig(role, least[role], {}),
        ...('incarnation' in given ? { incarnation: given.incarnation } : {}),
      })
    }
    expect(environmentName('peer-secret-file')).toBe('RAIN_PEER_SECRET_FILE')
  })

  it('turns text into what it stands for', () => {
    const config = readConfig(
      'mothership',
      {
        ...least.mothership,
        hypervisor: 'http://a:1/, https://b:2//,',
        zone: 'east',
        labels: 'disk=ssd, rain.io/tier=front,empty=',
        'capacity-cpu': '1500.5',
      },
      {},
    )
    expect(config.hypervisors).toEqual(['http://a:1', 'https://b:2'])
    expect(config.zone).toBe('east')
    expect(config.labels).toEqual({ disk: 'ssd', 'rain.io/tier': 'front', empty: '' })
    expect(config.capacity.cpu).toBe(1500.5)
    expect(readConfig('hypervisor', { ...least.hypervisor, 'private-metrics': 'true' }, {}).privateMetrics).toBe(true)
  })

  it('cannot be changed afterwards', () => {
    for (const role of roles) expect(Object.isFrozen(readConfig(role, least[role], {}))).toBe(true)
  })

  it('names everything that is missing, and how to give it', () => {
    for (const role of roles) {
      let message = ''
      try {
        readConfig(role, {}, {})
      } catch (error) {
        message = (error as CloudError).message
      }
      const required = options.filter(option => option.roles.includes(role) && option.default === undefined)
      expect(required.map(option => option.flag).sort()).toEqual(Object.keys(least[role]).sort())
      for (const { flag, help } of required) {
        expect(message).toContain(`--${flag} (or ${environmentName(flag)}) is missing: ${help}`)
      }
      expect(message.match(/ is missing: /g)).toHaveLength(required.length)
    }
  })

  it('names everything that is wrong at once', () => {
    const message = complaint('hypervisor', {
      port: '70000',
      'leader-ttl': 'soon',
      'private-metrics': 'yes',
      etcd: 'x',
    })
    expect(message.split('; ')).toEqual([
      '--port "70000": not a port',
      '--etcd "x": x is not an http url',
      '--leader-ttl "soon": not a duration like 500ms, 10s, 5m',
      '--private-metrics "yes": true or false',
    ])
  })

  it('is refused with a user of etcd but no password, or the other way round', () => {
    const given = [{ 'etcd-user': 'rain' }, { 'etcd-password-file': secretFile }]
    expect(given.map(each => complaint('hypervisor', each))).toEqual([
      '--etcd-user needs --etcd-password-file',
      '--etcd-password-file needs --etcd-user',
    ])
  })

  it.each<[RoleName, string, string, string]>([
    ['hypervisor', 'id', 'a b', 'letters, digits'],
    ['hypervisor', 'id', '../h1', 'letters, digits'],
    ['hypervisor', 'id', '', 'letters, digits'],
    ['hypervisor', 'cluster', 'a/b', 'letters, digits'],
    ['hypervisor', 'port', '-1', 'not a port'],
    ['hypervisor', 'port', '80.5', 'not a port'],
    ['hypervisor', 'port', '', 'not a port'],
    ['hypervisor', 'etcd', '', 'at least one url'],
    ['hypervisor', 'etcd', 'http://a:1,ftp://b:1', 'ftp://b:1 is not an http url'],
    ['hypervisor', 'presence-ttl', '10', 'not a duration'],
    ['hypervisor', 'peer-secret-file', join(dir, 'missing'), 'cannot be read (ENOENT)'],
    ['hypervisor', 'peer-secret-file', dir, 'cannot be read (EISDIR)'],
    ['hypervisor', 'peer-secret-file', file('empty', ' \n'), 'the file is empty'],
    ['hypervisor', 'bootstrap-file', join(dir, 'missing'), 'cannot be read (ENOENT)'],
    ['hypervisor', 'peer-secret-file', '', 'must not be empty'],
    ['hypervisor', 'peer-secret-file', file('words', 'open sesame'), 'must hold one line without spaces'],
    ['hypervisor', 'log-level', 'loud', 'trace, debug, info, warn, error or silent'],
    ['hypervisor', 'host', '', 'must not be empty'],
    ['hypervisor', 'url', 'h1:7001', 'not like http://host:port'],
    ['hypervisor', 'url', 'http://h1:7001/api', 'not like http://host:port'],
    ['hypervisor', 'url', 'ws://h1:7001', 'not like http://host:port'],
    ['hypervisor', 'leader-ttl', '500ms', 'at least 1s'],
    ['hypervisor', 'presence-ttl', '0s', 'at least 1s'],
    ['mothership', 'token-file', '', 'must not be empty'],
    ['mothership', 'token-file', file('lines', 'a\nb'), 'must hold one line without spaces'],
    ['mothership', 'data-dir', '', 'must not be empty'],
    ['mothership', 'address', 'http://m1:1', 'not like ws://host:port'],
    ['mothership', 'address', 'ws://m1:1/', 'not like ws://host:port'],
    ['server', 'address', 'ws://r1:1', 'not like http://host:port'],
    ['server', 'urls', '', 'at least one'],
    ['server', 'urls', ' , ', 'at least one'],
    ['server', 'urls', '/ok/*,news', 'news is no path pattern'],
    ['server', 'urls', '/a*b', '/a*b is no path pattern'],
    ['balancer', 'slots', '0', 'not a whole number above 0'],
    ['balancer', 'slots', '1.5', 'not a whole number above 0'],
    ['mothership', 'token-file', file('blank', ''), 'the file is empty'],
    ['mothership', 'hypervisor', 'h1:7001', 'h1:7001 is not an http url'],
    ['mothership', 'labels', 'disk', 'disk is not key=value'],
    ['mothership', 'labels', 'a b=c', 'a b=c is not key=value'],
    ['mothership', 'capacity-ram', 'much', 'not a number'],
    ['mothership', 'capacity-ram', '-1', 'not a number'],
    ['mothership', 'capacity-ram', '1e3', 'not a number'],
    ['balancer', 'api-port', 'x', 'not a port'],
    ['balancer', 'slots', 'few', 'not a whole number above 0'],
  ])('refuses for a %s --%s %j', (role, flag, text, reason) => {
    expect(complaint(role, { [flag]: text })).toContain(`--${flag} ${JSON.stringify(text)}: ${reason}`)
    const { [flag]: _, ...others } = least[role]
    expect(() => readConfig(role, others, { [environmentName(flag)]: text })).toThrow(reason)
  })

  it('refuses two things on one port, by name', () => {
    expect(complaint('server', { port: '8080', 'metrics-port': '8080' })).toBe('--metrics-port 8080 is that of --port')
    expect(complaint('balancer', { port: '80', 'metrics-port': '81', 'api-port': '80' })).toBe(
      '--api-port 80 is that of --port',
    )
    expect(complaint('balancer', { port: '80', 'metrics-port': '81', 'api-port': '81' })).toBe(
      '--api-port 81 is that of --metrics-port',
    )
    expect(complaint('balancer', { port: '0', 'metrics-port': '0', 'api-port': '0' })).toBe('nothing')
  })

  it('takes addresses as they should be', () => {
    expect(complaint('hypervisor', { url: 'https://h1.example' })).toBe('nothing')
    expect(complaint('mothership', { address: 'wss://[::1]:7' })).toBe('nothing')
    expect(complaint('balancer', { address: 'http://pages.example:80' })).toBe('nothing')
    expect(complaint('server', { urls: '/, /news/*, /shop/index' })).toBe('nothing')
  })

  it('makes urls of IPv6 addresses, and finds metrics where the node is found', () => {
    const balancer = readConfig('balancer', { ...least.balancer, host: '::1', port: '7', 'metrics-port': '9' }, {})
    expect(balancer.address).toBe('http://[::1]:7')
    expect(metricsUrl(balancer)).toBe('http://[::1]:9/metrics')
    const given = { ...least.mothership, host: '0.0.0.0', address: 'ws://m1.example:7', 'metrics-port': '9' }
    expect(metricsUrl(readConfig('mothership', given, {}))).toBe('http://m1.example:9/metrics')
    expect(readConfig('hypervisor', { ...least.hypervisor, host: '::1', port: '7' }, {}).url).toBe('http://[::1]:7')
  })

  it('does not look at what another role needs', () => {
    expect(complaint('server', { etcd: 'x', 'capacity-ram': 'much', 'api-port': 'x' })).toBe('nothing')
  })

  it('says nothing of what is in a file', () => {
    const secret = file('two-lines', 'first-secret\nsecond-secret')
    expect(complaint('mothership', { 'token-file': secret, port: 'x' })).not.toContain('first-secret')
  })

  it('reads the users of components: one, a range, or none', () => {
    const uids = (text: string): unknown =>
      readConfig('mothership', { ...least.mothership, 'component-uid': text }, {}).componentUids

    expect([uids(''), uids('60000'), uids('60000-60999')]).toEqual([
      undefined,
      { first: 60_000, last: 60_000 },
      { first: 60_000, last: 60_999 },
    ])
    for (const wrong of ['0', 'nobody', '9-3', '-5', '1-']) {
      expect(complaint('mothership', { 'component-uid': wrong })).toContain('--component-uid')
    }
  })
})
