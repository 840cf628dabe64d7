import { type ChildProcess, spawn } from 'node:child_process'
import { afterEach, expect, it } from 'vitest'
import { Reaper } from '../../src/mothership/reaper.js'
import { isAlive } from '../support/confined.js'
import { waitUntil } from '../support/etcd.js'
import { TestLog } from '../support/logs.js'

const groups: ChildProcess[] = []

afterEach(() => {
  for (const each of groups.splice(0)) each.kill('SIGKILL')
})

function aGroup(): number {
  const child = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore' })
  groups.push(child)
  return child.pid!
}

it('the reaper kills the groups that it watches, and no other, when its mothership is gone', async () => {
  const reaper = new Reaper(new TestLog())
  const [first, forgotten, unknown, last] = [aGroup(), aGroup(), aGroup(), aGroup()]
  for (const each of [first, forgotten, last]) reaper.watch(each)
  reaper.forget(forgotten)
  expect([first, forgotten, unknown, last].map(isAlive)).toEqual([true, true, true, true])
  reaper.close()

  await waitUntil('what it watched is killed', () => !isAlive(first) && !isAlive(last))
  expect([forgotten, unknown].map(isAlive)).toEqual([true, true])
})
