/**
 * What pages are while something is broken: a fragment that hangs (how late its page is, how early the others' bytes
 * are, what it costs other pages), and a mothership that is killed under 500 pages a second (how many fail, how long
 * none comes). Not measured here: the balancer (`bench balancer`), and replacing what was on a lost mothership.
 */
import { bar, finish, spreadOf } from './harness.js'
import { type Answered, atOnce, atRate, PageClient, quantile } from './pages/client.js'
import { PageCloud, type Part } from './pages/cloud.js'

const deadlineMs = 1_000
const [hungPages, hungPerSecond] = [200, 10]
const [otherMs, otherRounds, others] = [4_000, 5, 4]
const [killPerSecond, killPages, kills] = [500, 3_000, 3]
const client = new PageClient()

const part = (id: string, on: readonly number[], views: Readonly<Record<string, string>>, data = ''): Part => ({
  id,
  on,
  files: {
    'meta.json': JSON.stringify({
      id,
      version: '1.0',
      views: Object.fromEntries(Object.keys(views).map(each => [each, {}])),
    }),
    ...Object.fromEntries(Object.entries(views).map(([view, html]) => [`client/templates/${view}.html`, html])),
    ...(data === '' ? {} : { 'server/data.js': data }),
  },
})

const text = 'some text that says nothing much. '.repeat(20)
const fine = (n: number): string => `{{component name="fine" n=${n}}}`
const parts: Part[] = [
  part('page', [1, 2, 3], {
    whole: [0, 1, 2, 3, 4].map(fine).join(''),
    hung: `${fine(0)}${fine(1)}{{component name="hung"}}${fine(2)}${fine(3)}`,
    small: fine(0),
  }),
  part('fine', [1, 2, 3], { index: `<section data-n="{{n}}">${text}</section>` }),
  // Its data function never calls back.
  part('hung', [3], { index: 'never' }, 'exports.index = () => undefined'),
]
const sections = (count: number): string[] => Array.from({ length: count }, (_, n) => `data-n="${n}"`)
const ask = (cloud: PageCloud, view: string, look: readonly string[] = []): Promise<Answered> =>
  client.ask(`${cloud.url}/page/${view}`, look, { 'sec-fetch-dest': 'document' })
const has =
  (count: number) =>
  ({ status, body }: Answered): void => {
    const found = sections(count).filter(each => body.includes(each)).length
    if (status !== 200 || found !== count || !body.endsWith('</html>\n')) {
      throw new Error(`not the page that was wanted: ${status}, ${found} of ${count}: ${body.slice(0, 300)}`)
    }
  }
const say = (...cells: readonly (string | number)[]): void => {
  const shown = cells.map(each => (typeof each === 'number' ? each.toFixed(1) : each))
  process.stdout.write(`${shown.map((each, i) => (i === 0 ? each.padEnd(56) : each.padStart(10))).join('')}\n`)
}

async function hungFragment(): Promise<Record<string, number>> {
  const cloud = await PageCloud.start(parts, { fragmentDeadlineMs: deadlineMs })
  try {
    await atRate(50, 100, () => ask(cloud, 'whole'), has(5))
    // From the very first page on: nothing is known of the fault yet.
    const { lastMs, answers } = await atRate(hungPerSecond, hungPages, () => ask(cloud, 'hung', sections(4)), has(4))
    const seen = answers.map(each => Math.max(...each.seenMs)).sort((a, b) => a - b)
    const waited = lastMs.filter(each => each > deadlineMs / 2).length
    const page = { p99: quantile(lastMs, 0.99), max: lastMs.at(-1)! }
    say('page with a hung fragment: p50, p99, max ms', quantile(lastMs, 0.5), page.p99, page.max)
    say('the other fragments are out after: p50, p99, max ms', quantile(seen, 0.5), quantile(seen, 0.99), seen.at(-1)!)
    say('pages that waited for it, of so many', waited, hungPages)
    return {
      hung_page_p99_ms: page.p99,
      hung_page_max_ms: page.max,
      others_out_p99_ms: quantile(seen, 0.99),
      others_out_max_ms: seen.at(-1)!,
      waited_pages: waited,
      ...(await otherPages(cloud)),
    }
  } finally {
    await cloud.stop()
  }
}

/** As many pages beside, once with a fragment that hangs and once without; in turn. */
async function otherPages(cloud: PageCloud): Promise<Record<string, number>> {
  const found: Record<'hung' | 'whole', number[]> = { hung: [], whole: [] }
  for (let round = 0; round <= otherRounds; round++) {
    for (const beside of ['whole', 'hung'] as const) {
      const asked = atRate(hungPerSecond, (otherMs / 1000) * hungPerSecond, () => ask(cloud, beside), has(4))
      const { lastMs, seconds } = await atOnce(others, otherMs, () => ask(cloud, 'small'), has(1))
      await asked
      if (round > 0) found[beside].push(lastMs.length / seconds)
    }
  }
  const [hung, whole] = [spreadOf(found.hung), spreadOf(found.whole)]
  say('other pages/s beside whole ones: median, low, high', whole.median, whole.low, whole.high)
  say('other pages/s beside hung ones: median, low, high', hung.median, hung.low, hung.high)
  return {
    other_pages_per_s: hung.median,
    other_pages_per_s_without: whole.median,
    others_lost_share: 1 - hung.median / whole.median,
  }
}

async function killedMothership(): Promise<Record<string, number>> {
  let failed = 0
  const gaps: number[] = []
  const longest: number[] = []
  for (let round = 0; round < kills; round++) {
    const cloud = await PageCloud.start(parts, { fragmentDeadlineMs: deadlineMs })
    try {
      await atRate(killPerSecond, 1_000, () => ask(cloud, 'small'), has(1))
      const ended: number[] = []
      let killedMs = 0
      const check = has(1)
      const one = async (): Promise<Answered> => {
        const answered = await ask(cloud, 'small')
        ended.push(performance.now())
        return answered
      }
      const kill = setTimeout(() => {
        killedMs = performance.now()
        cloud.motherships[1]!.running.child.kill('SIGKILL')
      }, 2_000)
      const { lastMs } = await atRate(killPerSecond, killPages, one, answered => {
        try {
          check(answered)
        } catch {
          failed++
        }
      })
      clearTimeout(kill)
      if (killedMs === 0) throw new Error('nothing was killed')
      const after = ended.filter(each => each > killedMs - 20 && each < killedMs + 1_000).sort((a, b) => a - b)
      gaps.push(Math.max(...after.slice(1).map((each, index) => each - after[index]!)))
      longest.push(lastMs.at(-1)!)
    } finally {
      await cloud.stop()
    }
  }
  say(`mothership killed, ${kills} times: failed pages of so many`, failed, kills * killPages)
  say('longest time without any page: median, worst ms', spreadOf(gaps).median, Math.max(...gaps))
  say('slowest page: worst ms', Math.max(...longest))
  return { kill_failed: failed, kill_gap_ms: Math.max(...gaps), kill_slowest_ms: Math.max(...longest) }
}

try {
  const figures = { ...(await hungFragment()), ...(await killedMothership()) }
  finish('degradation', figures, {
    hung_page_p99_ms: bar(figures['hung_page_p99_ms']!, deadlineMs + 20, 'atMost'),
    others_out_ms: bar(figures['others_out_p99_ms']!, 50, 'atMost'),
    others_lost_share: bar(figures['others_lost_share']!, 0.05, 'atMost'),
    kill_failed: bar(figures['kill_failed']!, 0, 'atMost'),
    kill_gap_ms: bar(figures['kill_gap_ms']!, 50, 'atMost'),
  })
} finally {
  client.close()
}
