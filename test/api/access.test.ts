/** Who may call what: every route, every role; and what comes in from strangers never makes a replica fail. */
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { aHypervisor, secrets, type TestReplica } from '../support/hypervisors.js'

let hypervisor: TestReplica
beforeAll(async () => {
  hypervisor = await aHypervisor()
})
afterAll(async () => {
  await hypervisor.close()
})

interface Operation {
  readonly description?: string
  readonly security: readonly unknown[]
  readonly parameters: readonly { readonly name: string; readonly in: string }[]
}
type Paths = Readonly<Record<string, Readonly<Record<string, Operation>>>>

async function operations(): Promise<{ method: string; path: string; operation: Operation }[]> {
  const { body } = await hypervisor.rest('')('GET', '/openapi.json')
  return Object.entries(body['paths'] as unknown as Paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ method: method.toUpperCase(), path, operation })),
  )
}

/** Nothing is by these names, so that no call changes anything. */
const example: Readonly<Record<string, string>> = {
  '{id}': 'nothing',
  '{version}': '9.9',
  '{instanceId}': 'nothing.here',
  '{digest}': `sha256:${'0'.repeat(64)}`,
}
const concrete = (path: string): string =>
  path.replace(/\{\w+\}/g, name => {
    if (path.startsWith('/tokens')) return '0'.repeat(64)
    // Nobody but the node itself polls for it.
    return path.startsWith('/nodes') ? 'm1' : (example[name] ?? 'x')
  })

describe('access', () => {
  it('is declared by every route of the table, and kept', async () => {
    const all = await operations()
    expect(all.length).toBeGreaterThan(35)
    for (const { method, path, operation } of all) {
      const url = concrete(path)
      const open = operation.security.length === 0 || JSON.stringify(operation.security[0]) === '{}'
      const status = async (headers: Record<string, string>): Promise<number> =>
        (await hypervisor.rest('')(method, url, undefined, headers)).status
      expect([method, path, (await status({})) === 401]).toEqual([method, path, !open])
      if (open) continue
      expect([method, path, await status({ user: 'a wrong one' })]).toEqual([method, path, 401])
      const roles = /role (.*)\./.exec(operation.description ?? '')![1]!.split(', ')
      for (const [role, secret] of Object.entries(secrets)) {
        const refused = [401, 403].includes(await status({ user: secret }))
        // A node may register itself only, which the body says: without one it is told what is missing.
        expect([method, path, role, refused]).toEqual([method, path, role, !roles.includes(role)])
      }
    }
  })

  it('is by the seed`s header or the standard one', async () => {
    const status = async (headers: Record<string, string>): Promise<number> =>
      (await hypervisor.rest('')('GET', '/map', undefined, headers)).status
    expect(await status({ user: secrets.viewer })).toBe(200)
    expect(await status({ authorization: `Bearer ${secrets.viewer}` })).toBe(200)
    expect(await status({ authorization: `Basic ${secrets.viewer}` })).toBe(401)
    expect(await status({ user: '' })).toBe(401)
  })

  it('leaves health, documents and the console open', async () => {
    for (const path of ['/healthz', '/readyz', '/openapi.json', '/docs', '/console', '/console/anything']) {
      expect([path, (await hypervisor.rest('')('GET', path)).status]).toEqual([path, 200])
    }
  })
})

describe('the OpenAPI document', () => {
  it('is the committed one: who changes the API changes the document with it', async () => {
    const { text } = await hypervisor.rest('')('GET', '/openapi.json')
    await expect(`${JSON.stringify(JSON.parse(text), null, 2)}\n`).toMatchFileSnapshot('../../src/api/openapi.json')
  })

  it('has every row of the seed`s table', async () => {
    const rows = (await operations()).map(each => `${each.method} ${each.path}`)
    expect(rows).toEqual(
      expect.arrayContaining([
        'GET /rainservers/all',
        'GET /rainservers/{id}/urls',
        'POST /rainservers/',
        'PUT /rainservers/{id}',
        'DELETE /rainservers/{id}',
        'GET /mothership/all',
        'GET /mothership/{id}',
        'GET /mothership/{id}/webcomponents',
        'POST /mothership/',
        'PUT /mothership/{id}',
        'DELETE /mothership/{id}',
        'GET /webcomponent/all',
        'POST /webcomponent/',
        'GET /webcomponent/{id}/{version}',
        'GET /webcomponent/{id}/{version}/descriptor',
        'GET /webcomponent/{id}/{version}/statistics',
        'GET /webcomponent/{instanceId}',
        'POST /webcomponent/{id}/{version}',
        'POST /webcomponent/{instanceId}',
        'PUT /webcomponent/{id}/{version}',
        'DELETE /webcomponent/{id}/{version}',
        'DELETE /webcomponent/{instanceId}',
        'PUT /webcomponent/{instanceId}',
      ]),
    )
  })
})

describe('whatever comes in', () => {
  const anything = fc.oneof(
    fc.json({ maxDepth: 4 }),
    fc.string({ maxLength: 200 }),
    fc.constantFrom('{"__proto__":1}', '{"constructor":{"prototype":1}}', '[]', 'null', '""', '{"id":"\\u0000"}'),
  )
  const word = fc.oneof(
    fc.constantFrom('all', 'a.b', '1.0', '..', '%2e%2e', '%00', 'ü', "'", '{}', ' ', 'a'.repeat(400)),
    fc.string({ maxLength: 20 }).map(encodeURIComponent),
  )

  it('is answered with a word of ours, never with a failure', async () => {
    const all = await operations()
    const call = fc.record({
      row: fc.nat(all.length - 1),
      words: fc.array(word, { minLength: 3, maxLength: 3 }),
      body: anything,
      query: word,
    })
    await fc.assert(
      fc.asyncProperty(call, async ({ row, words, body, query }) => {
        const { method, path } = all[row]!
        if (path === '/tokens/{id}' && method === 'DELETE') return
        let next = 0
        const url = `${path.replace(/\{\w+\}/g, () => words[next++ % words.length]!)}?${query}`
        const payload = method === 'GET' || method === 'DELETE' ? undefined : body
        const answer = await hypervisor.rest('admin')(method, url, payload)
        expect([method, url, body, answer.status < 500]).toEqual([method, url, body, true])
        if (answer.status < 400) return
        expect(answer.headers.get('content-type')).toContain('application/problem+json')
        expect(answer.text).not.toMatch(/\bat .*\.(js|ts):\d+|node_modules/)
      }),
      { numRuns: 600 },
    )
    expect(hypervisor.errors).toEqual([])
  })
})
