import { describe, expect, it } from 'vitest'
import { proxyFor } from '../../src/sdk/proxy.js'

const [http, https] = ['http://plain.example:3128', 'http://secure.example:3128']
const through = (target: string, ...except: readonly string[]): string | undefined =>
  proxyFor(target, { http, https, except })

describe('the proxy for an url', () => {
  it('is that of its scheme, if there is one', () => {
    expect(through('http://h1.example:7001')).toBe(http)
    expect(through('ws://h1.example:7001')).toBe(http)
    expect(through('https://h1.example')).toBe(https)
    expect(through('wss://h1.example')).toBe(https)
    expect(proxyFor('http://h1.example', { https, except: [] })).toBeUndefined()
  })

  it.each<[string, string, boolean]>([
    ['h1.example', 'h1.example', true],
    ['example', 'h1.example', true],
    ['.example', 'h1.example', true],
    ['*.example', 'h1.example', true],
    ['EXAMPLE', 'h1.example', true],
    ['*', 'anything.at.all', true],
    ['1.example', 'h1.example', false],
    ['h1', 'h1.example', false],
    ['h1.example:7001', 'h1.example:7001', true],
    ['h1.example:7001', 'h1.example:7002', false],
    ['h1.example:80', 'h1.example', true],
    ['127.0.0.1', '127.0.0.1:7001', true],
    ['0.0.1', '127.0.0.1:7001', false],
    ['::1', '[::1]:7001', true],
    ['[::1]:7001', '[::1]:7001', true],
    ['[::1]:7001', '[::1]:7002', false],
    ['2001:db8::1', '[2001:db8::2]', false],
    ['10.0.0.0/8', '10.255.3.4:7001', true],
    ['10.0.0.0/8', '11.0.0.1', false],
    ['10.0.0.0/8', 'ten.example', false],
    ['10.0.0.0/33', '10.0.0.1', false],
    ['10.0.0.0/', '10.0.0.1', false],
    ['2001:db8::/32', '[2001:db8:1::2]:7001', true],
    ['2001:db8::/32', '10.0.0.1', false],
    ['h1.example/8', 'h1.example', false],
  ])('is none where %s is excepted and %s is meant: %s', (rule, host, direct) => {
    expect(through(`http://${host}`, rule) === undefined).toBe(direct)
  })
})
