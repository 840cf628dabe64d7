/** Whatever goes wrong with a call is one kind of error, with a code. */
import { createServer, type RequestListener } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { Client } from '../../src/sdk/client.js'

const cleanups: (() => void)[] = []
afterEach(() => {
  for (const cleanup of cleanups.splice(0)) cleanup()
})

async function clientOf(answer: RequestListener): Promise<Client> {
  const server = createServer(answer)
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  cleanups.push(() => {
    server.close()
    server.closeAllConnections()
  })
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  return new Client({ url, token: 't' })
}

describe('a client', () => {
  it('has the code and the fields of a problem document', async () => {
    const errors = [{ path: '/id', message: 'wrong' }]
    const client = await clientOf((_request, response) =>
      response.writeHead(400).end(JSON.stringify({ code: 'bad-request', detail: 'no', errors })),
    )
    await expect(client.get('/x')).rejects.toMatchObject({ code: 'bad-request', message: 'no', details: { errors } })
  })

  it('says that nobody answers when an answer breaks off', async () => {
    const client = await clientOf((_request, response) => {
      response.writeHead(200, { 'content-length': 1000 }).write('{"id":')
      setImmediate(() => response.destroy())
    })
    await expect(client.get('/x')).rejects.toMatchObject({ code: 'store-unavailable' })
  })

  it('says so when the answer is none of a replica', async () => {
    const client = await clientOf((_request, response) => response.end('<h1>It works!</h1>'))
    await expect(client.get('/x')).rejects.toMatchObject({ code: 'store-unavailable' })
  })
})
