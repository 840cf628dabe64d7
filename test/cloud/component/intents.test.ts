import { describe, expect, it } from 'vitest'
import { offeredIntents, usesSession } from '../../../src/cloud/component/deployed.js'
import { readPackage } from '../../../src/cloud/component/package.js'
import { aPackage } from '../../support/packages.js'

const meta = (intents: unknown, more: object = {}): string =>
  JSON.stringify({ id: 'chat', version: '1.0', views: { index: {} }, intents, ...more })

async function problems(intents: readonly object[], more: object = {}): Promise<string> {
  const reading = await readPackage(
    await aPackage({
      'meta.json': meta(intents, more),
      'client/templates/index.html': '',
      'server/controller/log.js': 'exports.write = () => 1',
    }),
  )
  return reading.kind === 'good' ? '' : reading.errors.map(each => `${each.path}: ${each.message}`).join('; ')
}
const intent = (provider?: string): object => ({ category: 'com.chat', action: 'SHOW', provider })

describe('an intent', () => {
  it.each(['index', 'log.js#write', 'log#write'])('may be provided by %s', async provider => {
    expect(await problems([intent(provider)])).toBe('')
  })

  it.each([
    ['nowhere', 'meta.json#/intents/0/provider: there is no view nowhere'],
    ['/controller/log.js', 'for code of the server write "<file>.js#<method>"'],
    ['gone.js#write', 'server/controller/gone.js is missing'],
    ['log.js#write#more', 'is neither a view nor'],
    ['log.js#', 'is neither a view nor'],
    ['#write', 'is neither a view nor'],
  ])('that is provided by %s is refused', async (provider, message) => {
    expect(await problems([intent(provider)])).toContain(message)
  })

  it('is refused when it comes twice', async () => {
    expect(await problems([intent('index'), intent('log.js#write')])).toBe(
      'meta.json#/intents/1: com.chat SHOW comes twice',
    )
  })

  it('of a container, and one without a provider, are passed over', async () => {
    expect(await problems([intent('nowhere')], { type: 'container' })).toBe('')
    expect(await problems([intent()])).toBe('')
    expect(offeredIntents({ meta: meta([intent()]) })).toEqual([])
    expect(offeredIntents({ meta: meta([intent('index')], { type: 'container' }) })).toEqual([])
  })

  it('is known from the meta.json of a deployed version', () => {
    const record = { meta: meta([{ ...intent('index'), permissions: ['talk'] }]) }
    expect(offeredIntents(record)).toEqual([intent('index')])
    expect(offeredIntents(record)).toBe(offeredIntents(record))
    expect(offeredIntents({ meta: '{"intents' })).toEqual([])
    expect([usesSession(record), usesSession({ meta: meta([], { useSession: true }) })]).toEqual([false, true])
  })
})
