import { createServer } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type MetricsListener, type MetricsOptions, serveMetrics } from '../../src/metrics/listener.js'
import { createRegistry, expose } from '../../src/metrics/registry.js'

const open: MetricsListener[] = []
afterEach(async () => {
  await Promise.all(open.splice(0).map(each => each.close()))
})

async function listening(more: Partial<MetricsOptions> = {}): Promise<MetricsListener> {
  const registry = createRegistry({ role: 'mothership', id: 'm1', software: '0.1.0' })
  expose(registry, { name: 'instances', help: 'Copies that run here', type: 'gauge', read: () => 7 })
  const listener = await serveMetrics({ host: '127.0.0.1', port: 0, registry, ...more })
  open.push(listener)
  return listener
}

const at = (listener: MetricsListener, path: string): string => new URL(path, listener.url).href

describe('the listener of metrics', () => {
  it('serves what the registry holds, as text that Prometheus reads', async () => {
    const response = await fetch((await listening()).url)
    const text = await response.text()

    expect(response.headers.get('content-type')).toMatch(/^text\/plain; version=0\.0\.4/)
    expect(text).toContain('rain_instances 7')
    expect(text).toContain('rain_build_info{role="mothership",id="m1",software="0.1.0"} 1')
    expect(text).toMatch(/^rain_process_cpu_seconds_total \d/m)
  })

  it('says whether the process is well', async () => {
    let wrong: string | undefined
    const listener = await listening({ health: () => wrong })

    expect((await fetch(at(listener, '/healthz'))).status).toBe(200)
    wrong = 'no session for 30 s'
    const response = await fetch(at(listener, '/healthz'))
    expect([response.status, await response.text()]).toEqual([503, 'no session for 30 s\n'])
  })

  it('refuses other paths and other methods', async () => {
    const listener = await listening()
    const posted = await fetch(listener.url, { method: 'POST', body: 'x' })

    expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD'])
    expect((await fetch(at(listener, '/secret'))).status).toBe(404)
  })

  it('answers 500 when a reading fails, and goes on', async () => {
    const registry = createRegistry({ role: 'mothership', id: 'm1', software: '0.1.0' })
    let broken = true
    const read = (): number => {
      if (broken) throw new Error('no reading')
      return 1
    }
    expose(registry, { name: 'shaky', help: 'Fails at first', type: 'gauge', read })
    const listener = await listening({ registry })

    expect((await fetch(listener.url)).status).toBe(500)
    broken = false
    expect(await (await fetch(listener.url)).text()).toContain('rain_shaky 1')
  })

  it('names the address that it cannot take', async () => {
    const taken = createServer().listen(0, '127.0.0.1')
    await new Promise(resolve => taken.once('listening', resolve))
    const { port } = taken.address() as { port: number }

    await expect(listening({ port })).rejects.toMatchObject({
      code: 'misconfigured',
      message: expect.stringContaining(`127.0.0.1:${port} (EADDRINUSE)`),
    })
    taken.close()
  })
})
