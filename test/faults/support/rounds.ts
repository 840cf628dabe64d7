/** What most rows have in common: a cloud, clients that write down what they were told, a judgement at the end. */
import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect } from 'vitest'
import { toLines } from '../../support/linearizability/history.js'
import { judge, type Verdict } from './checks.js'
import { type Clients, startClients } from './clients.js'
import { FaultCloud, type FaultCloudOptions } from './cloud.js'

export async function withCloud<T>(options: FaultCloudOptions, run: (cloud: FaultCloud) => Promise<T>): Promise<T> {
  const cloud = await FaultCloud.start(options)
  try {
    return await run(cloud)
  } finally {
    await cloud.close()
  }
}

/** Clients ask all the while; then everything is judged, and one violation fails the row. */
export async function underClients<T>(
  cloud: FaultCloud,
  run: (clients: Clients) => Promise<T>,
): Promise<{ readonly result: T; readonly verdict: Verdict }> {
  const clients = await startClients(cloud)
  let result: T
  try {
    result = await run(clients)
  } finally {
    cloud.network?.heal()
    await clients.stop()
  }
  const verdict = await judge(cloud, clients.history)
  if (verdict.violations.length > 0) keep(cloud, clients)
  expect(verdict.violations.slice(0, 10)).toEqual([])
  const { operations, acknowledged, unknown, terms, transactions } = verdict
  process.stdout.write(
    `       V1-V7 hold: ${operations} operations (${acknowledged} acknowledged, ${unknown} unknown), ${transactions} transactions of ${terms} terms\n`,
  )
  return { result, verdict }
}

/** What is needed to look into a violation. */
function keep(cloud: FaultCloud, clients: Clients): void {
  const directory = mkdtempSync(join(tmpdir(), 'rain-violation-'))
  writeFileSync(join(directory, 'history.jsonl'), toLines(clients.history))
  for (const { id, process } of [...cloud.replicas, ...cloud.etcd]) {
    writeFileSync(join(directory, `${id}.log`), process.words())
  }
  process.stdout.write(`history and logs are kept in ${directory}\n`)
}

export const sleep = (ms: number): Promise<void> => new Promise(resolve => setTimeout(resolve, ms))
