/**
 * How long a replica needs from the start of its process until REST answers from the whole map, and what it holds for
 * each instance. Replica: the real program in a process of its own over a real etcd (one member, loopback), which leads
 * from then on, because there is no other. Beside it the floor: the bare client library reading the same keys, throwing
 * them away. Memory: what the process holds with all instances less what it holds with none, divided.
 *
 * Not measured: several members, a network between, disks that are cold, observed records.
 *
 * `npm run bench -- cold-start [instances] [directory]`: a directory is kept, and used again when it holds the cloud.
 */
import { fork } from 'node:child_process'
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { Keys } from '../src/store/keys.js'
import { countOf, fill, instancesIn, putInstances, say, startEtcd } from './clouds/etcd.js'
import { checkedAgainstProduct, instancesOf, platform } from './clouds/large.js'
import { type BenchReplica, startReplica } from './clouds/replica.js'
import type { RangeFloor } from './floors/etcd-range.js'
import { finish, spreadOf } from './harness.js'

const instances = Number(process.argv[2] ?? 1_000_000)
const kept = process.argv[3]
const rounds = 3
const dir = kept ?? mkdtempSync(join(tmpdir(), 'rain-bench-'))
mkdirSync(dir, { recursive: true })

function floor(url: string, cluster: string): Promise<RangeFloor> {
  const file = fileURLToPath(new URL('./floors/etcd-range.js', import.meta.url))
  const child = fork(file, [url, new Keys(cluster).map])
  return new Promise((resolve, reject) => {
    child.once('message', each => resolve(each as RangeFloor))
    child.once('exit', code => reject(new Error(`the floor ended with ${code}`)))
  })
}

interface Use {
  readonly path: string
  readonly ms: number
}

/** What operators ask of a cloud of this size. */
async function used(replica: BenchReplica): Promise<Use[]> {
  const uses: Use[] = []
  for (const path of ['/webcomponent/all', '/mothership/all', '/map', '/webcomponent/component-0001/1.0.0']) {
    const { status, ms } = await replica.get(path)
    if (status !== 200) throw new Error(`GET ${path}: ${status}`)
    uses.push({ path: `GET ${path}`, ms })
  }
  let made = await replica.post('/webcomponent/component-0001/1.0', {})
  // A replica that stood still for long has not heard of etcd meanwhile, and says so.
  for (let again = 0; made.status === 503 && again < 10; again++) {
    say(`POST: 503 ${JSON.stringify(made.body)}`)
    await new Promise(resolve => setTimeout(resolve, 500))
    made = await replica.post('/webcomponent/component-0001/1.0', {})
  }
  if (made.status !== 201) throw new Error(`POST: ${made.status} ${JSON.stringify(made.body)}`)
  uses.push({ path: 'POST /webcomponent/component-0001/1.0', ms: made.ms })
  return uses
}

const etcd = await startEtcd(join(dir, 'etcd'))
try {
  checkedAgainstProduct()
  if ((await countOf(etcd.etcd, 'large')) < instances) {
    say(`loading ${instances} instances …`)
    await fill(etcd.etcd, 'empty', platform(instances))
    await fill(etcd.etcd, 'large', platform(instances))
    await fill(etcd.etcd, 'large', putInstances(instancesOf(instances)))
  }
  const started = (id: string, cluster: string, count: number): Promise<BenchReplica> =>
    startReplica({ id, etcd: etcd.url, cluster, dir }, count)

  const empty = await started('h0', 'empty', 0)
  const held0 = await empty.gauge()
  await empty.stop()

  const [readyMs, floorMs, heldBytes, rssBytes, startPauses, steadyPauses] = [[], [], [], [], [], []] as number[][]
  let uses: Use[] = []
  let bytes = 0
  for (let round = 0; round < rounds; round++) {
    const bare = await floor(etcd.url, 'large')
    if (bare.keys < instances) throw new Error(`the floor read ${bare.keys} keys`)
    bytes = bare.bytes
    floorMs!.push(bare.ms)
    const replica = await started(`h${round}`, 'large', await instancesIn(etcd.etcd, 'large'))
    readyMs!.push(replica.readyMs)
    const first = await replica.gauge()
    startPauses!.push(first.pauseMsMax)
    await new Promise(resolve => setTimeout(resolve, 10_000))
    uses = await used(replica)
    const then = await replica.gauge()
    steadyPauses!.push(then.pauseMsMax)
    heldBytes!.push((then.heldBytes - held0.heldBytes) / instances)
    rssBytes!.push((then.rssBytes - held0.rssBytes) / instances)
    say(
      `round ${round}: ready in ${Math.round(replica.readyMs)} ms, floor ${Math.round(bare.ms)} ms, cpu ${Math.round(first.cpuMs)} ms`,
    )
    await replica.stop()
  }
  report()

  function report(): void {
    const told = {
      'ready, ms': readyMs!,
      'bare range, ms': floorMs!,
      'held for each, bytes': heldBytes!,
      'rss for each, bytes': rssBytes!,
      'worst pause at start, ms': startPauses!,
      'worst pause then, ms': steadyPauses!,
    }
    for (const [name, values] of Object.entries(told)) {
      const { median, low, high } = spreadOf(values)
      process.stdout.write(
        `${name.padEnd(28)} ${median.toFixed(0).padStart(8)}   ${low.toFixed(0)} – ${high.toFixed(0)}\n`,
      )
    }
    for (const { path, ms } of uses) process.stdout.write(`${path.padEnd(44)} ${ms.toFixed(1).padStart(8)} ms\n`)
    const median = (values: readonly number[] | undefined): number => spreadOf(values ?? []).median
    const bar = (value: number, most: number): { value: number; bar: number; ok: boolean } => ({
      value: Math.round(value),
      bar: most,
      ok: value <= most,
    })
    finish(
      'cold-start',
      {
        instances,
        valueBytes: bytes / instances,
        readyMs: median(readyMs),
        bareRangeMs: median(floorMs),
        readyToBareRange: median(readyMs!.map((ms, round) => ms / floorMs![round]!)),
        heldBytes: median(heldBytes),
        rssBytes: median(rssBytes),
        startPauseMs: median(startPauses),
        steadyPauseMs: median(steadyPauses),
      },
      {
        readyMs: bar(median(readyMs), 15_000),
        heldBytes: bar(median(heldBytes), 1.2 * 1024),
        rssBytes: bar(median(rssBytes), 1.2 * 1024),
      },
    )
  }
} finally {
  await etcd.stop()
  if (kept === undefined) rmSync(dir, { recursive: true, force: true })
}
