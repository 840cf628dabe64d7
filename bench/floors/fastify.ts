/** A bare fastify with one route and the body that it is given: what any answer of its kind costs at least. */
import { readFileSync } from 'node:fs'
import Fastify from 'fastify'

const body = readFileSync(process.argv[2]!, 'utf8')
const app = Fastify({ logger: false })
app.get('/body', (_request, reply) => reply.type('application/json; charset=utf-8').send(body))
const url = await app.listen({ host: '127.0.0.1', port: 0 })
process.send?.(url)
process.once('disconnect', () => process.exit(0))
