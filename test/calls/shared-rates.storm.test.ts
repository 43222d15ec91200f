import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { systemClock } from '../../src/async/clock.ts'
import { createGate } from '../../src/calls/gate.ts'
import { createSharedGate } from '../../src/calls/rates/shared-gate.ts'
import { toSharedRates } from '../../src/composition/create-shared-rates.ts'
import { openStore } from '../../src/repositories/database.ts'
import { openTestPostgres } from '../support/postgres.ts'

const WORKERS = 3
/** The long form takes a minute: RATE_SECONDS=60. */
const SECONDS = Number(process.env.RATE_SECONDS ?? 8)
const rates = { requestsPerMinute: 600 }

test(`${WORKERS} workers use 10 requests per second together, and never send more than 11 in any second`, {
  timeout: 60_000 + SECONDS * 2_000,
}, async () => {
  const { url, drop } = await openTestPostgres()
  const stores = await Promise.all(Array.from({ length: WORKERS }, () => openStore({ url })))
  const sent: number[] = []
  const stop = new AbortController()
  const fallback = await createGate(rates, systemClock)
  const warnings: string[] = []
  const work = stores.flatMap(({ providerRates }) => {
    if (!providerRates) throw new Error('expected Postgres to hold rates')
    const gate = createSharedGate({
      account: 'alpha',
      rates,
      shared: toSharedRates(providerRates, randomUUID()),
      fallback,
      clock: systemClock,
      warn: (message) => warnings.push(message),
      jitterMs: 0,
    })
    const caller = async () => {
      for (;;) {
        const pass = await gate.enter(0, stop.signal)
        sent.push(performance.now())
        pass.leave()
      }
    }
    return Array.from({ length: 5 }, () => caller().catch(() => undefined))
  })
  await sleep(SECONDS * 1_000)
  stop.abort(new Error('over'))
  await Promise.all(work)
  await Promise.all(stores.map((store) => store.close()))
  await drop()
  const [first = 0] = sent
  const most = Math.max(...sent.map((at) => sent.filter((other) => other >= at && other < at + 1_000).length))
  const perSecond = (sent.length - 1) / (((sent.at(-1) ?? 0) - first) / 1_000)
  console.info(`at most ${most} in a second, ${perSecond.toFixed(2)} per second used`)
  expect(warnings).toEqual([])
  expect(most).toBeLessThanOrEqual(11)
  expect(perSecond).toBeGreaterThanOrEqual(9.5)
})
