/** What components print and log, in the log of their mothership. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { ComponentProcess } from '../../src/mothership/component-process.js'
import { answerOf, TestComponents } from '../support/confined.js'
import { waitUntil } from '../support/etcd.js'

let components: TestComponents

beforeEach(() => {
  components = new TestComponents()
})
afterEach(() => components.stop())

type Entry = TestComponents['log']['entries'][number]

/** Entries about the component, in order. */
const ofComponent = (): Entry[] => components.log.entries.filter(each => 'stream' in each.fields)
const has = (message: string): Promise<void> =>
  waitUntil(`${message} is in the log`, () => components.log.said.includes(message))

const starting = (code: string): Promise<ComponentProcess> =>
  components.start({ print: `${code}; answer('done')`, ask: "answer('yes')" })

describe('what a component prints', () => {
  it('is in the log of its mothership, line by line, with component and version', async () => {
    const component = await starting(
      "console.log('one\\n\\ntwo'); console.error('three'); process.stdout.write('four')",
    )
    await answerOf(component, 'print')
    await has('three')
    await component.stop()
    await has('four')

    const of = { component: 'news', version: '1.0.0' }
    expect(ofComponent().sort((a, b) => a.message.localeCompare(b.message))).toEqual([
      { level: 'info', message: 'four', fields: { ...of, stream: 'stdout' } },
      { level: 'info', message: 'one', fields: { ...of, stream: 'stdout' } },
      { level: 'warn', message: 'three', fields: { ...of, stream: 'stderr' } },
      { level: 'info', message: 'two', fields: { ...of, stream: 'stdout' } },
    ])
  })

  it('is cut where a line is long, and goes on after it', async () => {
    const component = await starting("console.log('x'.repeat(300_000)); console.log('after')")
    await answerOf(component, 'print')
    await has('after')

    expect(ofComponent().map(each => each.message)).toEqual(['x'.repeat(2_000), 'after'])
  })

  it('is left out where it is too much, and counted', async () => {
    const component = await starting("for (let i = 0; i < 10_000; i++) console.log('line ' + i)")
    await answerOf(component, 'print')
    const counted = (): Entry | undefined =>
      components.log.entries.findLast(each => each.message.endsWith('lines were left out'))
    const told = (): number =>
      components.log.entries.reduce((sum, { fields }) => sum + ((fields as { lines?: number }).lines ?? 0), 0)
    await waitUntil('all are counted', () => ofComponent().length + told() === 10_000)

    expect(ofComponent().length).toBeLessThan(500)
    expect(counted()).toMatchObject({ level: 'warn', fields: { component: 'news', version: '1.0.0' } })
  })

  it('does not keep others from being answered, nor grow in memory, however much it is', async () => {
    const loud = await components.start({
      print: `
        const line = 'x'.repeat(60_000) + String.fromCharCode(10)
        setInterval(() => { for (let i = 0; i < 20; i++) process.stdout.write(line) })
        answer('done')
      `,
    })
    const quiet = await components.start({ ask: "answer('yes')" })
    await answerOf(loud, 'print')
    const before = process.memoryUsage().rss
    await waitUntil('it was told to print less', () => components.log.said.some(each => each.includes('left out')))
    for (let i = 0; i < 200; i++) expect(await answerOf(quiet, 'ask')).toBe('yes')

    expect(process.memoryUsage().rss - before).toBeLessThan(100 * 2 ** 20)
  })
})

describe('the logger of a component', () => {
  it('is there in all of its code, with a level for each call and the error that came with it', async () => {
    const component = await starting(`
      for (const level of ['debug', 'info', 'warn', 'error', 'fatal']) logger[level]('as ' + level)
      logger.error('lost', new RangeError('far out'))
      logger.info({ stock: 3 })
    `)
    await answerOf(component, 'print')
    await has('{ stock: 3 }')

    expect(ofComponent().map(({ level, message }) => [level, message])).toEqual([
      ['info', 'as debug'],
      ['info', 'as info'],
      ['warn', 'as warn'],
      ['error', 'as error'],
      ['error', 'as fatal'],
      ['error', 'lost'],
      ['info', '{ stock: 3 }'],
    ])
    expect(ofComponent().map(each => (each.fields as { level?: string }).level)).toMatchObject({
      0: 'debug',
      4: 'fatal',
    })
    expect(ofComponent()[5]!.fields).toMatchObject({ error: expect.stringContaining('RangeError: far out') })
  })

  it('writes one line whatever it is given, which nobody else can break', async () => {
    const component = await starting(`
      logger.warn('two\\nlines')
      logger.warn(Object.create(null))
      logger.warn({ get trap() { throw new Error('no') } })
      logger.warn('y'.repeat(100_000), 'z'.repeat(100_000))
      console.log(String.fromCharCode(30) + '{"level":"king"}')
      console.log(String.fromCharCode(30) + '{')
    `)
    await answerOf(component, 'print')
    await waitUntil('all is in the log', () => ofComponent().length === 6)

    const [first, , , long, king, broken] = ofComponent()
    expect(first).toMatchObject({ level: 'warn', message: 'two\nlines' })
    expect(long).toMatchObject({ message: 'y'.repeat(2_000), fields: { error: 'z'.repeat(2_000) } })
    expect([king?.level, broken?.level]).toEqual(['info', 'info'])
  })
})
