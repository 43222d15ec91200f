import { setTimeout as sleep } from 'node:timers/promises'
import { runOne } from './load.mjs'

const FOREVER_MS = 600_000
const REACH_ALL_MS = 90_000

/**
 * Starts flows whose first call is never answered; resolves when all of them wait for it. They wait until the process
 * ends.
 */
export async function startWaiting(side, count, pacer) {
  const calls = await pacer.set(FOREVER_MS)
  const failures = []
  for (let flow = 0; flow < count; flow++) runOne(side, 'seq').catch((error) => failures.push(error))
  const deadline = performance.now() + REACH_ALL_MS
  while ((await pacer.calls()) - calls < count) {
    if (failures.length > 0) throw new Error(`${failures.length} of ${count} flows failed`, { cause: failures[0] })
    if (performance.now() > deadline) throw new Error(`${count} flows did not all reach the model in ${REACH_ALL_MS} ms`)
    await sleep(100)
  }
}
