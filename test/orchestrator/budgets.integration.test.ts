import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createRequire } from 'node:module'
import { fileURLToPath, pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { BudgetSettings } from '../../src/domain/users/budget.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { openStore } from '../../src/repositories/database.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'
import { newClaim, newFlow, newThread } from '../support/stored-data.ts'

const INSTANCES = 4
const RUNS = Number(process.env.BUDGET_RUNS ?? 40)

/** Answers with 10 tokens of input and 20 of output for every call; the worst case of a call is 50 to 120 tokens. */
const replies = () => ({
  text: 'answer',
  usage: { inputTokens: 10, outputTokens: 20, totalTokens: 30, source: 'reported' as const },
})
const definition = {
  name: 'two calls',
  type: 'sequential' as const,
  steps: ['first', 'second'].map((id) => ({
    id,
    model: 'scripted/m',
    action: 'generate' as const,
    prompt: 'go',
    settings: { maxTokens: 40 },
  })),
}

test('what is settled after another owner has claimed the flow does not count, unless the flow was cancelled', async () => {
  const postgres = await openTestPostgres()
  const store = await openStore({ url: postgres.url })
  const { budgets, journal } = store
  const windowStart = new Date(0)
  const settledAs = async (take: (flowId: string, epoch: number) => Promise<unknown>) => {
    const thread = newThread()
    await store.threads.create(thread)
    const { id: flowId } = newFlow(thread.id)
    await journal.createFlow(newFlow(thread.id, { id: flowId }))
    const claimed = await journal.claim(newClaim(flowId, { ownerId: 'first' }))
    if (!('epoch' in claimed)) throw new Error('expected a claim')
    const { epoch } = claimed
    const caps = [{ name: 'tokens', subject: flowId, windowStart, maxTokens: 1_000 }]
    await budgets.reserve({ id: flowId, ownerId: 'first', caps, costNanoUsd: 70, tokens: 700, flows: 0 })
    await take(flowId, epoch)
    await budgets.settle([{ id: flowId, costNanoUsd: 5, tokens: 50, flow: { flowId, epoch } }])
    const [usage] = await budgets.list([windowStart], flowId)
    return usage && [usage.costNanoUsd, usage.tokens, usage.reservedNanoUsd, usage.reservedTokens]
  }
  const claimAgain = async (flowId: string) => {
    const claimed = await journal.claim(newClaim(flowId, { ownerId: 'second', from: ['RUNNING'] }))
    if (!('epoch' in claimed)) throw new Error('expected a claim')
    return claimed.epoch
  }
  const cancel = async (flowId: string) => {
    const epoch = await claimAgain(flowId)
    const outcome = { status: 'CANCELLED' as const, completedAt: new Date(), simulated: false }
    await journal.finish({ flowId, epoch, updates: [], outcome })
  }
  try {
    expect(await settledAs(async () => undefined)).toEqual([5, 50, 0, 0])
    expect(await settledAs(claimAgain)).toEqual([0, 0, 0, 0])
    expect(await settledAs((flowId, epoch) => store.queue.release({ flowId, epoch }))).toEqual([5, 50, 0, 0])
    expect(await settledAs(cancel)).toEqual([5, 50, 0, 0])
  } finally {
    await store.close()
    await postgres.drop()
  }
})

describe('budgets over several processes', () => {
  let postgres: TestPostgres
  beforeAll(async () => {
    postgres = await openTestPostgres()
  })
  afterAll(() => postgres?.drop())

  const open = (budgets: readonly BudgetSettings[]) =>
    openTestPolyphony({
      database: postgres.url,
      providers: { scripted: createScriptedProvider({ replies }) },
      prices: { 'scripted/m': { inputPerMillion: 1_000, outputPerMillion: 1_000 } },
      budgets: [...budgets],
    })

  const newFlow = async ({ conversations, orchestrator }: Polyphony, userId: string) => {
    const { id } = await conversations.createThread(userId, {})
    return (await orchestrator.createFlow(id, userId, definition)).id
  }
  const codeOf = (run: Promise<unknown>): Promise<string> =>
    run.then(
      () => 'COMPLETED',
      (error) => OrchestratorError.from(error).code,
    )

  test('instances that share a database never exceed a budget together, and give back all that they do not spend', async () => {
    const max = 30 * RUNS
    const budgets: BudgetSettings[] = [
      { name: 'tokens', scope: 'user', window: 'month', maxTokens: max },
      { name: 'dollars', scope: 'tag:team', window: 'month', maxCostUsd: 1_000 },
    ]
    const opened = await Promise.all(Array.from({ length: INSTANCES }, () => open(budgets)))
    const codes = await Promise.all(
      Array.from({ length: RUNS }, async (_, index) => {
        const polyphony = opened[index % INSTANCES]
        if (!polyphony) throw new Error('expected an instance')
        const flowId = await newFlow(polyphony, 'ada')
        return codeOf(polyphony.orchestrator.executeFlow(flowId, 'ada', { input: 'x', metadata: { team: 'red' } }))
      }),
    )
    const [first] = opened
    const usage = await first?.usage.report('ada', { groupBy: [] })
    const reports = await first?.budgets.list()
    await Promise.all(opened.map((polyphony) => polyphony.close()))
    expect(new Set(codes)).toEqual(new Set(['COMPLETED', 'LIMIT_EXCEEDED']))
    // An attempt is refused only when the worst case of a call no longer fits.
    expect(usage?.totals.totalTokens).toBeLessThanOrEqual(max)
    expect(usage?.totals.totalTokens).toBeGreaterThan(max - 130)
    expect(reports).toMatchObject([
      { name: 'tokens', spent: { tokens: usage?.totals.totalTokens }, reserved: { tokens: 0 } },
      { name: 'dollars', subject: 'red', spent: { tokens: usage?.totals.totalTokens }, reserved: { costUsd: 0 } },
    ])
    expect(reports?.[1]?.spent.costUsd).toBeCloseTo(usage?.totals.costUsd ?? 0, 6)
  })

  test('a flow that a budget has stopped is resumed under a raised maximum, and is not counted as another flow', async () => {
    const budget: BudgetSettings = { name: 'small', scope: 'user', window: 'month', maxTokens: 110, maxFlows: 1 }
    const before = await open([budget])
    const flowId = await newFlow(before, 'bob')
    await expect(before.orchestrator.executeFlow(flowId, 'bob', { input: 'x' })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      details: { budget: 'small', limit: 'maxTokens', opensAt: expect.stringMatching(/-01T00:00:00.000Z$/) },
    })
    const another = await newFlow(before, 'bob')
    await expect(before.orchestrator.startFlow(another, 'bob', { input: 'x' })).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      details: { limit: 'maxFlows' },
    })
    expect(await before.orchestrator.checkFlow(definition, 'bob')).toMatchObject({
      ok: false,
      budgets: [{ name: 'small', left: { tokens: 80, flows: 0 } }],
    })
    await before.close()
    const raised = await open([{ ...budget, maxTokens: 500 }])
    expect(await raised.orchestrator.executeFlow(flowId, 'bob')).toMatchObject({ totalTokens: 60 })
    await raised.close()
  })

  test('the reservation of a process that was killed is given back', async () => {
    const budget: BudgetSettings = { name: 'shared', scope: 'user', window: 'month', maxTokens: 200 }
    const loader = pathToFileURL(createRequire(import.meta.url).resolve('tsx')).href
    const script = fileURLToPath(new URL('../support/budget-holder.ts', import.meta.url))
    const holder = spawn(process.execPath, ['--conditions=source', '--import', loader, script, postgres.url], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    await once(holder.stdout, 'data')
    const exited = once(holder, 'exit')
    const living = await open([budget])
    expect(await living.budgets.list('eve')).toMatchObject([{ reserved: { tokens: 190 } }])
    const flowId = await newFlow(living, 'eve')
    const run = living.orchestrator.executeFlow(flowId, 'eve', { input: 'x' })
    holder.kill('SIGKILL')
    await exited
    expect(await run).toMatchObject({ totalTokens: 60 })
    expect(await living.budgets.list('eve')).toMatchObject([{ reserved: { tokens: 0 }, spent: { tokens: 60 } }])
    await living.close()
  })
})
