/**
 * How much fits on one mothership: a thousand instances of twenty components, each of which has answered; and how long
 * it takes to start one more of a component that runs.
 *
 * Not measured: what components bring along (libraries, data of theirs), fetching packages over a network.
 */
import type { WantedInstance } from '../src/protocol/messages.js'
import { bar, finish, spreadOf } from './harness.js'
import { type Answer, BenchMothership } from './support/mothership.js'

const say = (text: string): void => void process.stderr.write(`${text}\n`)
const [components, instancesEach, starts] = [20, 50, 100]

const template = `<article><h1>{{title}}</h1><ul>{{#each items}}<li class="{{kind}}">{{name}}: {{price}}</li>{{/each}}</ul></article>`
const data = `
  const kinds = ['new', 'old', 'sold']
  exports.index = (environment, callback) => {
    const items = []
    for (let i = 0; i < 20; i++) items.push({ kind: kinds[i % 3], name: 'item ' + i, price: i * 7 })
    callback(null, { title: environment.instance, items })
  }
`

const wanted = (component: string, digest: string): WantedInstance => ({
  component,
  version: '1.0.0',
  digest,
  size: 1,
  role: 'primary',
  epoch: 1,
  generation: 0,
  isolation: 'shared',
  need: { cpu: 1, ram: 1, bandwidth: 1 },
})

const whole = (answer: Answer): number => {
  if (answer.t !== 'fragment' || !answer.html.includes('item 19: 133')) {
    throw new Error(`not the fragment that was wanted: ${JSON.stringify(answer).slice(0, 300)}`)
  }
  return answer.html.length
}

async function measure(mothership: BenchMothership): Promise<void> {
  const alone = mothership.memory()
  const digests = new Map<string, string>()
  for (let i = 0; i < components; i++) {
    const id = `part${i}`
    digests.set(id, await mothership.deploy(id, { index: template }, `// ${id}\n${data}`))
  }
  say('a thousand instances …')
  const all: Record<string, WantedInstance> = {}
  for (const [id, digest] of digests) for (let n = 0; n < instancesEach; n++) all[`${id}.${n}`] = wanted(id, digest)
  const fromMs = performance.now()
  mothership.want(all)
  for (const id of Object.keys(all)) await mothership.running(id)
  const allMs = performance.now() - fromMs

  say('each answers …')
  for (let round = 0; round < 5; round++) for (const id of Object.keys(all)) whole(await mothership.render(id))
  await new Promise(resolve => setTimeout(resolve, 3_000))
  const full = mothership.memory()

  say('one more, a hundred times …')
  const times: number[] = []
  for (let n = 0; n < starts + 10; n++) {
    const component = `part${n % components}`
    const id = `${component}.more${n}`
    all[id] = wanted(component, digests.get(component)!)
    const startMs = performance.now()
    mothership.want(all)
    await mothership.running(id)
    // The first ones warm up.
    if (n >= 10) times.push(performance.now() - startMs)
    whole(await mothership.render(id))
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  times.sort((a, b) => a - b)
  const start = spreadOf(times)
  const p99 = times[Math.floor(times.length * 0.99)]!

  const mib = (value: number): string => `${Math.round(value).toLocaleString('en')} MiB`
  process.stdout.write(
    [
      `mothership alone             ${mib(alone.pss)} PSS, ${mib(alone.rss)} RSS`,
      `with 1,000 instances of 20   ${mib(full.pss)} PSS, ${mib(full.rss)} RSS, ${full.processes} processes`,
      `one more instance            ${start.median.toFixed(1)} ms (${start.low.toFixed(1)} – ${start.high.toFixed(1)}), p99 ${p99.toFixed(1)} ms`,
      `all of them                  ${(allMs / 1000).toFixed(1)} s`,
      '',
    ].join('\n'),
  )
  finish(
    'density',
    {
      aloneRssMiB: alone.rss,
      pssMiB: full.pss,
      rssMiB: full.rss,
      processes: full.processes,
      startAllMs: allMs,
    },
    {
      rssMiB: bar(full.rss, 1_536, 'atMost'),
      startP50Ms: bar(start.median, 20, 'atMost'),
      startP99Ms: bar(p99, 20, 'atMost'),
    },
  )
}

const mothership = await BenchMothership.start()
try {
  await measure(mothership)
} finally {
  await mothership.stop()
}
