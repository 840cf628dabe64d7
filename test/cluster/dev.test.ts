/**
 * A component that is being written, against a cloud of real processes: `rain dev` as a user runs it, pages as a browser
 * asks for them, changes as an editor makes them.
 */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { processesOf, type RunningUp, runRain, startCloud, type TestCloud } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'
import { restOf } from '../support/rest.js'

let cloud: TestCloud
let running: RunningUp
let page = ''
const directory = join(mkdtempSync(join(tmpdir(), 'rain-write-')), 'product')
const template = join(directory, 'client/templates/index.html')
const events: { build: string; faults: readonly string[] }[] = []
const listening = new AbortController()

const write = (file: string, text: string): void => writeFileSync(join(directory, file), text)
const shop = async (): Promise<string> => (await fetch(`${page}/shop/index`)).text()
/** What `product` is rendered by, wherever it is in the page. */
const renderedBy = (html: string, component: string): Set<string> =>
  new Set(
    [...html.matchAll(/data-rain-component="([^"]+)" [^>]*data-rain-mothership="([^"]+)"/g)]
      .filter(([, id]) => id === component)
      .map(([, , mothership]) => mothership!),
  )
const said = async (text: string | RegExp): Promise<void> =>
  waitUntil(`it says ${text}`, () => running.said().search(text) >= 0, 30_000).catch(error => {
    throw new Error(`${(error as Error).message}: ${running.said()}`)
  })

/** As a page listens: what is told of changes, in order. */
async function listen(): Promise<void> {
  const { body } = await fetch(`${page}/__rain/events`, { signal: listening.signal })
  let text = ''
  for await (const part of body!.pipeThrough(new TextDecoderStream())) {
    const parts = (text + part).split('\n\n')
    text = parts.pop()!
    for (const each of parts) events.push(JSON.parse(each.replace(/^data: /, '')))
  }
}

beforeAll(async () => {
  cpSync(join(import.meta.dirname, '../../deploy/sample/product'), directory, { recursive: true })
  cloud = await startCloud({ args: ['--etcd', '1', '--replicas', '2', '--motherships', '2', '--rain-servers', '1'] })
  const { api, tokens } = cloud.state()
  running = runRain(['dev', directory, '--cloud', api, '--token', tokens.admin, '--port', '0'])
  await said(/page {2}http\S+/)
  page = new URL(/page {2}(\S+)/.exec(running.said())![1]!).origin
  listen().catch(() => undefined)
}, 180_000)
afterAll(async () => {
  listening.abort()
  running?.child.kill('SIGINT')
  await cloud?.close()
  rmSync(join(directory, '..'), { recursive: true, force: true })
})

it('shows pages of the cloud, with the component from here and everything else from there', async () => {
  await waitUntil('it is in the page', async () => renderedBy(await shop(), 'product').has('rain-dev'), 30_000)
  const html = await shop()
  expect([...renderedBy(html, 'product')]).toEqual(['rain-dev'])
  for (const component of ['shop', 'header', 'footer']) {
    expect([...renderedBy(html, component)].join()).toMatch(/^m\d/)
  }
  // Which copy shows a part, and how long news took, is another thing each time.
  const text = (from: string): string =>
    from
      .replace(/<[^>]*>/g, '')
      .replace(/\S+ on (m\d|rain-dev)|\d+ ms/g, '')
      .replace(/\s+/g, ' ')
  const there = await (await fetch(`${cloud.state().pages}/shop/index`)).text()
  expect(text(html).trim()).toBe(text(there).trim())
  expect(html).toMatch(/<script src="\/__rain\/dev.js" data-build="[^"]+"><\/script>\s*<\/body>/)
  expect(await (await fetch(`${page}/__rain/dev.js`)).text()).toContain('EventSource')
})

it('loads pages again when a file changes, and shows the change', async () => {
  const before = events.at(-1)!.build
  writeFileSync(template, `${readFileSync(template, 'utf8')}<b>written just now</b>`)
  await waitUntil('the page is told', () => events.at(-1)!.build !== before, 20_000)
  expect(await shop()).toContain('written just now')
  expect(events.at(-1)!.faults).toEqual([])
})

it('says what is wrong in the terminal and in the page, and keeps what ran', async () => {
  const { build } = events.at(-1)!
  const right = readFileSync(template, 'utf8')
  writeFileSync(template, '<p>\n{{#if sku}}</p>')
  await waitUntil('the page is told', () => events.at(-1)!.faults.length > 0, 20_000)
  const fault = `${template}:2:16: the template ends, and a \`{{…}}\` or a block is still open`
  expect(events.at(-1)).toEqual({ build, faults: [fault] })
  expect(running.said()).toContain(fault)
  expect(await shop()).toContain('written just now')

  writeFileSync(template, right)
  await waitUntil('all is right', () => events.at(-1)!.faults.length === 0, 20_000)
  const data = readFileSync(join(directory, 'server/data.js'), 'utf8')
  write('server/data.js', `throw new Error('not today')\n${data}`)
  await waitUntil('it does not start', () => /not today/.test(events.at(-1)!.faults.join()), 20_000)
  expect(await shop()).toContain('written just now')
  write('server/data.js', data)
  await waitUntil('all is right again', () => events.at(-1)!.faults.length === 0, 20_000)
})

it('sends none of the visitors of the cloud here, and leaves nothing behind', async () => {
  const { api, tokens, pages } = cloud.state()
  const rest = restOf(api, tokens.admin)
  const servers = async (): Promise<string[]> =>
    ((await rest('GET', '/rainservers/all')).body['items'] as unknown as { id: string; state: string }[])
      .filter(each => each.id.startsWith('dev-'))
      .map(each => each.state)
  expect(await servers()).toEqual(['draining'])
  for (let i = 0; i < 20; i++) {
    const html = await (await fetch(`${pages}/shop/index`)).text()
    expect(html).not.toContain('rain-dev')
  }
  const logs = /logs {2}(\S+)/.exec(running.said())![1]!
  running.child.kill('SIGINT')
  expect(await running.ended).toBe(0)
  expect(await servers()).toEqual([])
  const tokensLeft = (await rest('GET', '/tokens')).body['items'] as unknown as { subject: string }[]
  expect(tokensLeft.filter(each => each.subject.startsWith('rain dev'))).toEqual([])
  await waitUntil('its processes are gone', async () => (await processesOf(logs)).length === 0, 10_000)
})
