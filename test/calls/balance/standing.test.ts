import { expect, test } from 'vitest'
import type { Standing } from '../../../src/calls/balance/standing.ts'
import { createCall } from '../../../src/calls/create-call.ts'
import { poolSchema } from '../../../src/config/pools/pool-settings.ts'
import { OrchestratorError } from '../../../src/errors/orchestrator-error.ts'
import { callPorts } from '../../support/call-ports.ts'
import { answer, callContext, manualClock, prepared } from '../../support/calls.ts'
import { rejection } from '../../support/caught.ts'

const down = (waitMs: number, mayReturn = true): Standing => ({
  mayAsk: false,
  run: 1,
  waitMs,
  code: mayReturn ? 'PROVIDER_UNAVAILABLE' : 'SERVICE_NOT_RUNNING',
  mayReturn,
})
const up = (run = 1): Standing => ({ mayAsk: true, run })

/** A pool of two services whose standing and answers a test sets. */
function openServices() {
  const clock = manualClock()
  const asked: string[] = []
  const standings = new Map<string, Standing>([
    ['one', up()],
    ['two', up()],
  ])
  const broken = new Set<string>()
  const members = [{ model: 'one/m' }, { model: 'two/m' }]
  const call = createCall(
    callPorts({
      attempt: async ({ provider, model }) => {
        asked.push(provider)
        if (broken.has(provider)) throw new OrchestratorError('PROVIDER_UNAVAILABLE', 'reset')
        return answer('fine', { model })
      },
      pools: { writers: poolSchema.parse({ strategy: 'round_robin', members }) },
      standing: (provider) => standings.get(provider),
      clock,
    }),
  )
  const to = (provider: string, model: string) =>
    call({ targets: [{ provider, model }], prepare: (target) => prepared(target) }, callContext())
  return { asked, standings, broken, ask: () => to('pool', 'writers'), to }
}

test('a member that does not run is not asked, and is asked again as soon as it runs', async () => {
  const { asked, standings, ask } = openServices()
  standings.set('one', down(1_000))
  await ask()
  await ask()
  standings.set('one', up(2))
  await ask()
  await ask()
  expect(asked).toEqual(['two', 'two', 'one', 'two'])
})

test('what calls have shown of one run, ejection and open circuits, is forgotten in the next one', async () => {
  const { asked, standings, broken, ask, to } = openServices()
  broken.add('one')
  for (let call = 0; call < 8; call++) await ask()
  // So many failures in a row open the circuit of a model.
  for (let call = 0; call < 20; call++) await rejection(to('one', 'm'))
  expect(await rejection(to('one', 'm'))).toMatchObject({ details: { circuit: 'open' } })
  asked.length = 0
  await ask()
  await ask()
  expect(asked).toEqual(['two', 'two'])
  broken.clear()
  standings.set('one', up(2))
  await ask()
  await ask()
  expect(asked.slice(2).toSorted()).toEqual(['one', 'two'])
})

test('without a member that runs the call waits as long as the first one needs', async () => {
  const { standings, ask, asked } = openServices()
  standings.set('one', down(700))
  standings.set('two', down(Number.POSITIVE_INFINITY, false))
  const failed = await rejection(ask())
  expect(failed).toMatchObject({
    code: 'PROVIDER_UNAVAILABLE',
    details: {
      retryAfterMs: 700,
      members: [
        { member: 'one/m', state: 'not_running', retryAfterMs: 700 },
        { member: 'two/m', state: 'not_running', code: 'SERVICE_NOT_RUNNING' },
      ],
    },
  })
  expect(asked).toEqual([])
})
