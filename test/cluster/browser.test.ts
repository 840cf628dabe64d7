/**
 * A real browser, through HAProxy of a whole cloud: a visitor keeps the basket and sees it rain while every rain server is
 * restarted, one after the other.
 */
import { spawnSync } from 'node:child_process'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startCloud, type TestCloud } from '../support/cloud.js'
import { waitUntil } from '../support/etcd.js'

/** As much of playwright-core as is needed: without the package these tests are skipped, and the others are not. */
interface Locator {
  click(): Promise<void>
  first(): Locator
  textContent(): Promise<string | null>
  getAttribute(name: string): Promise<string | null>
}
interface Page {
  goto(url: string): Promise<{ status(): number } | null>
  reload(): Promise<{ status(): number } | null>
  locator(selector: string): Locator
  title(): Promise<string>
  on(
    event: 'console',
    listener: (message: { type(): string; text(): string; location(): { url: string } }) => void,
  ): void
  on(event: 'pageerror', listener: (error: Error) => void): void
  on(event: 'response', listener: (response: { status(): number; url(): string }) => void): void
}
interface Browser {
  newPage(): Promise<Page>
  close(): Promise<void>
}
interface Driver {
  chromium: { launch(options: object): Promise<Browser> }
}

const driverName = 'playwright-core'
const driver = (await import(driverName).catch(() => undefined)) as Driver | undefined
const programs = ['chromium', 'chromium-browser', 'google-chrome']
const program = programs.find(each => spawnSync('sh', ['-c', `command -v ${each}`]).status === 0)
const reason = !driver ? `${driverName} is not installed` : program ? undefined : 'Chromium is not installed'

let cloud: TestCloud
let browser: Browser
let page: Page
const wrong: string[] = []

beforeAll(async () => {
  if (reason !== undefined) return
  cloud = await startCloud()
  const executablePath = spawnSync('sh', ['-c', `command -v ${program}`], { encoding: 'utf8' }).stdout.trim()
  browser = await driver!.chromium.launch({ executablePath, args: ['--no-sandbox', '--disable-dev-shm-usage'] })
  page = await browser.newPage()
  page.on(
    'console',
    message => void (message.type() === 'error' && wrong.push(`${message.text()} (${message.location().url})`)),
  )
  page.on('pageerror', error => void wrong.push(String(error)))
  page.on('response', answer => void (answer.status() >= 400 && wrong.push(`${answer.status()} ${answer.url()}`)))
}, 180_000)
afterAll(async () => {
  await browser?.close()
  await cloud?.close()
})

const count = (): Promise<string | null> => page.locator('[data-basket]').getAttribute('data-basket')
const status = (): Promise<string | null> => page.locator('[data-status]').textContent()
const drops = async (): Promise<number> => Number(await page.locator('[data-drops]').textContent())

async function rains(): Promise<void> {
  await waitUntil('it is live', async () => (await status()) === 'live')
  const before = await drops()
  await waitUntil('it rains', async () => (await drops()) !== before)
}

/** HAProxy sends to it. */
async function isUp(id: string): Promise<boolean> {
  const answer = await fetch(`http://127.0.0.1:${cloud.portBase + 5}/metrics`)
  return (await answer.text()).includes(`rain_balancer_server_up{pattern="/*",server="${id}"} 1`)
}

describe(`a visitor with a browser${reason === undefined ? '' : ` [skipped: ${reason}]`}`, () => {
  it.skipIf(reason !== undefined)('fills the basket, and sees it rain', async () => {
    const answer = await page.goto(`${cloud.state().pages}/shop/index`)
    expect(answer?.status()).toBe(200)
    expect(await page.title()).toBe('The RAIN shop')
    expect(await count()).toBe('0')
    for (const sku of ['umbrella', 'boots']) {
      await page.locator(`[data-sku=${sku}] button`).click()
    }
    await waitUntil('both are in', async () => (await count()) === '2')
    await rains()
    expect(wrong).toEqual([])
  })

  it.skipIf(reason !== undefined)(
    'keeps both while every rain server is restarted, one after the other',
    async () => {
      let bought = 2
      for (const { id, pid } of cloud.state().rainServers) {
        process.kill(pid, 'SIGTERM')
        const now = () => cloud.state().rainServers.find(each => each.id === id)!
        await waitUntil(`${id} is another process, and pages are good all the while`, async () => {
          const answer = await page.reload()
          expect([answer?.status(), await count()]).toEqual([200, String(bought)])
          return now().pid > 0 && now().pid !== pid
        })
        await waitUntil(`${id} is back in the balancer`, () => isUp(id))
        await page.locator('[data-sku=coat] button').click()
        bought++
        await waitUntil('it is in', async () => (await count()) === String(bought))
        await rains()
      }
      expect(bought).toBeGreaterThan(5)
      expect(wrong).toEqual([])
    },
    180_000,
  )

  it.skipIf(reason !== undefined)(
    'sees it rain again by itself when the rain server of its websocket goes',
    async () => {
      await page.reload()
      await rains()
      const before = cloud.state().rainServers
      // Whoever it is that has the websocket.
      for (const { id, pid } of before) {
        process.kill(pid, 'SIGTERM')
        await waitUntil(`${id} is another process`, () => {
          const { pid: now } = cloud.state().rainServers.find(each => each.id === id)!
          return now > 0 && now !== pid
        })
        await waitUntil(`${id} is back in the balancer`, () => isUp(id))
        await rains()
      }
      expect(await count()).not.toBe('0')
      expect(wrong).toEqual([])
    },
    180_000,
  )
})
