import { describe, expect, test } from 'vitest'
import type { SharedBudgets } from '../../src/calls/call.ts'
import type { BudgetSettings } from '../../src/domain/users/budget.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { BudgetService } from '../../src/orchestrator/budgets/budget-service.ts'
import { createFlowBudgets } from '../../src/orchestrator/budgets/flow-budgets.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import type { BudgetRepository } from '../../src/repositories/repository.ts'
import { manualClock, settled } from '../support/calls.ts'

const never = new AbortController().signal
const JOB = { flowId: '018cc251-f400-7000-8000-000000000001', epoch: 1 }

/** Budgets over one memory store; `ofOther` are those of another process with the same configuration. */
function opened(given: readonly BudgetSettings[], repository: BudgetRepository = createMemoryStore().budgets) {
  const clock = manualClock()
  const warnings: string[] = []
  const open = (budgets: readonly BudgetSettings[]) =>
    createFlowBudgets({
      repository,
      budgets,
      ownerId: 'owner-1',
      shared: false,
      clock,
      logger: { warn: (message) => warnings.push(message) },
    })
  const service = new BudgetService({ repository, budgets: given, now: () => new Date(clock.now()) })
  const flow = { userId: 'ada', threadId: 'thread-1', apiKeyId: 'key-1', metadata: { team: 'red' } }
  const budgets = open(given)
  const required = (found: SharedBudgets | undefined): SharedBudgets => {
    if (!found) throw new Error('expected a budget to apply')
    return found
  }
  return { clock, warnings, open, service, budgets, flow, shared: required(budgets.of(flow, JOB)), required }
}

const daily = (more: Partial<BudgetSettings> = {}): BudgetSettings => ({
  name: 'daily',
  scope: 'user',
  window: 'day',
  maxCostUsd: 1,
  ...more,
})

describe('budgets over many flows', () => {
  test('an attempt that does not fit is LIMIT_EXCEEDED with the budget and the instant at which it opens again', async () => {
    const { shared } = opened([daily()])
    const spent = await shared.reserve({ costUsd: 0.75, tokens: 10 }, never)
    await spent.settle({ costUsd: 0.75, tokens: 10 })
    await expect(shared.reserve({ costUsd: 0.5, tokens: 10 }, never)).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      message: expect.stringContaining('"daily"'),
      details: {
        reason: 'budget',
        budget: 'daily',
        limit: 'maxCostUsd',
        max: 1,
        spent: 0.75,
        needed: 0.5,
        opensAt: '2023-11-15T00:00:00.000Z',
        retryAfterMs: 6_400_000,
      },
    })
  })

  test('the next window has the whole amount', async () => {
    const { shared, clock } = opened([daily({ window: 'hour' })])
    await (await shared.reserve({ costUsd: 1, tokens: 0 }, never)).settle({})
    await expect(shared.reserve({ costUsd: 1, tokens: 0 }, never)).rejects.toMatchObject({ code: 'LIMIT_EXCEEDED' })
    await clock.pass(3_600_000)
    await expect(shared.reserve({ costUsd: 1, tokens: 0 }, never)).resolves.toBeDefined()
  })

  test('a raised maximum lets attempts of the same window go on', async () => {
    const { shared, open, flow, required } = opened([daily()])
    await (await shared.reserve({ costUsd: 1, tokens: 0 }, never)).settle({})
    const raised = required(open([daily({ maxCostUsd: 2 })]).of(flow, JOB))
    await expect(raised.reserve({ costUsd: 1, tokens: 0 }, never)).resolves.toBeDefined()
  })

  test('a model without a price per token passes a budget of costs that is used up', async () => {
    const { shared } = opened([daily({ maxCostUsd: 0 })])
    await expect(shared.reserve({ costUsd: 0, tokens: 5_000 }, never)).resolves.toBeDefined()
  })

  test('an attempt waits for reservations of others, in the order of the calls, and goes on when they are settled', async () => {
    const { shared, clock } = opened([daily()])
    const first = await shared.reserve({ costUsd: 0.8, tokens: 0 }, never)
    const order: string[] = []
    const big = shared.reserve({ costUsd: 0.7, tokens: 0 }, never).then((reservation) => {
      order.push('big')
      return reservation
    })
    await settled()
    const small = shared.reserve({ costUsd: 0.1, tokens: 0 }, never).then(() => order.push('small'))
    await clock.pass(10_000)
    expect(order).toEqual([])
    await first.settle({ costUsd: 0.1 })
    await (await big).settle({ costUsd: 0 })
    await small
    expect(order).toEqual(['big', 'small'])
  })

  test('an abort ends the wait at once and leaves no reservation', async () => {
    const { shared, service } = opened([daily()])
    const first = await shared.reserve({ costUsd: 0.8, tokens: 0 }, never)
    const abort = new AbortController()
    const waiting = shared.reserve({ costUsd: 0.7, tokens: 0 }, abort.signal)
    await settled()
    const reason = new Error('stop')
    abort.abort(reason)
    await expect(waiting).rejects.toBe(reason)
    await first.settle({ costUsd: 0 })
    await settled()
    expect(await service.list('ada')).toMatchObject([{ reserved: { costUsd: 0 }, left: { costUsd: 1 } }])
  })

  test('a flow counts against the budgets of its user, key, thread and tag, and against no other', async () => {
    const scopes = ['user', 'key', 'thread', 'tag:team', 'tag:absent'] as const
    const { shared, service } = opened(scopes.map((scope) => daily({ name: scope, scope })))
    await (await shared.reserve({ costUsd: 0.25, tokens: 7 }, never)).settle({})
    const subjects = (await service.list()).map(({ name, subject, spent }) => [name, subject, spent.costUsd, spent.tokens])
    expect(subjects).toEqual([
      ['user', 'ada', 0.25, 7],
      ['key', 'key-1', 0.25, 7],
      ['thread', 'thread-1', 0.25, 7],
      ['tag:team', 'red', 0.25, 7],
    ])
  })

  test('no budget applies to a flow without its subject, so that its calls need no statement', () => {
    const { budgets } = opened([daily()])
    expect(budgets.of({ userId: 'ada' }, JOB)).toBeDefined()
    const { open } = opened([daily()])
    expect(open([daily({ scope: 'key' })]).of({ userId: 'ada' }, JOB)).toBeUndefined()
    expect(open([{ name: 'starts', scope: 'user', window: 'day', maxFlows: 2 }]).of({ userId: 'ada' }, JOB)).toBeUndefined()
  })

  test('flows beyond the maximum do not start, and a flow that did not start is taken back', async () => {
    const { budgets, flow } = opened([daily({ maxFlows: 1 })])
    const withdraw = await budgets.countFlow(flow)
    await expect(budgets.countFlow(flow)).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      details: { budget: 'daily', limit: 'maxFlows', max: 1 },
    })
    await withdraw()
    await expect(budgets.countFlow(flow)).resolves.toBeDefined()
  })

  test('a settlement that the database refuses is kept and repeated', async () => {
    const { budgets: repository } = createMemoryStore()
    let fails = true
    const flaky: BudgetRepository = {
      ...repository,
      settle: (settlements) => (fails ? Promise.reject(new Error('away')) : repository.settle(settlements)),
    }
    const { shared, service, clock, warnings } = opened([daily()], flaky)
    const reservation = await shared.reserve({ costUsd: 0.5, tokens: 0 }, never)
    await reservation.settle({ costUsd: 0.2 })
    expect(warnings).toHaveLength(1)
    expect(await service.list('ada')).toMatchObject([{ spent: { costUsd: 0 }, reserved: { costUsd: 0.5 } }])
    fails = false
    await clock.pass(1_000)
    expect(await service.list('ada')).toMatchObject([{ spent: { costUsd: 0.2 }, reserved: { costUsd: 0 } }])
  })

  describe('while the database is away', () => {
    /** Statements fail in turn as told; a lost one is carried out, and its answer does not arrive. */
    function flaky(faults: ('away' | 'lost')[]) {
      const { budgets: repository } = createMemoryStore()
      let asked = 0
      const reserve: BudgetRepository['reserve'] = async (reservation) => {
        const fault = faults[asked++]
        if (fault !== 'away') {
          const answer = await repository.reserve(reservation)
          if (!fault) return answer
        }
        throw new OrchestratorError('DATABASE_UNAVAILABLE', 'away')
      }
      return { asked: () => asked, repository: { ...repository, reserve } }
    }

    test('an attempt waits for its reservation, and reserves once although an answer was lost', async () => {
      const { repository, asked } = flaky(['away', 'lost', 'away'])
      const { shared, service, clock } = opened([daily()], repository)
      const waiting = shared.reserve({ costUsd: 0.6, tokens: 0 }, never)
      await clock.pass(1_000)
      await (await waiting).settle({ costUsd: 0.2 })
      expect(asked()).toBe(4)
      expect(await service.list('ada')).toMatchObject([{ spent: { costUsd: 0.2 }, reserved: { costUsd: 0 } }])
    })

    test('an abort ends the wait at once and gives back what a lost answer has reserved', async () => {
      const { repository } = flaky(['lost', 'away', 'away', 'away'])
      const { shared, service, clock } = opened([daily()], repository)
      const abort = new AbortController()
      const waiting = shared.reserve({ costUsd: 0.6, tokens: 0 }, abort.signal)
      await clock.pass(60)
      expect(await service.list('ada')).toMatchObject([{ reserved: { costUsd: 0.6 } }])
      const reason = new Error('stop')
      abort.abort(reason)
      await expect(waiting).rejects.toBe(reason)
      await settled()
      expect(await service.list('ada')).toMatchObject([{ reserved: { costUsd: 0 }, left: { costUsd: 1 } }])
    })

    test('an error that repeating does not help is not repeated', async () => {
      const { budgets: repository } = createMemoryStore()
      const refused = new OrchestratorError('DATABASE_UNAVAILABLE', 'access denied', { retryable: false })
      const { shared } = opened([daily()], { ...repository, reserve: () => Promise.reject(refused) })
      await expect(shared.reserve({ costUsd: 0.6, tokens: 0 }, never)).rejects.toBe(refused)
    })
  })
})
