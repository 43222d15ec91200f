import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { createScheduleClaimer, type Schedule } from '../../src/orchestrator/schedules/schedule-claimer.ts'
import type { StartScheduledFlow } from '../../src/orchestrator/schedules/scheduled-flows.ts'
import { toScheduledFlowId } from '../../src/orchestrator/schedules/scheduled-flows.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { openStore } from '../../src/repositories/database.ts'
import { createMemoryStore } from '../../src/repositories/memory/memory-store.ts'
import type { Store } from '../../src/repositories/repository.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres, type TestPostgres } from '../support/postgres.ts'

const START_MS = Date.UTC(2026, 9, 24)
const MINUTE_MS = 60_000

let postgres: TestPostgres
beforeAll(async () => {
  postgres = await openTestPostgres()
})
afterAll(() => postgres?.drop())

const stores: Readonly<Record<string, () => Promise<readonly Store[]>>> = {
  memory: async () => {
    const store = createMemoryStore()
    return [store, store]
  },
  Postgres: () => Promise.all([openStore({ url: postgres.url }), openStore({ url: postgres.url })]),
}

describe.each(Object.entries(stores))('schedules over %s', (_name, open) => {
  const schedule = (overrides: Partial<Schedule> = {}): Schedule => ({
    name: `schedule ${randomUUID()}`,
    timing: { everyMs: MINUTE_MS },
    flow: 'critique',
    userId: 'local',
    missed: 'once',
    ...overrides,
  })

  /** Two claimers over one database with one clock; `started` lists the instants, in minutes since the start. */
  async function setUp(schedules: readonly Schedule[], start?: StartScheduledFlow) {
    const opened = await open()
    let nowMs = START_MS
    const started: number[] = []
    const claimers = opened.map((store) =>
      createScheduleClaimer({
        repository: store.schedules,
        schedules,
        start: async (given, instant) => {
          const flowId = await start?.(given, instant)
          started.push((instant.getTime() - START_MS) / MINUTE_MS)
          return flowId ?? toScheduledFlowId(given.name, instant)
        },
        logger: { warn: () => undefined },
        now: () => new Date(nowMs),
      }),
    )
    onTestFinished(async () => {
      for (const store of new Set(opened)) await store.close()
    })
    const names = schedules.map(({ name }) => name)
    return {
      started,
      list: async () => (await opened[0]?.schedules.list(names)) ?? [],
      /** Moves the clock and lets both claimers look at the same time. */
      async look(minutes: number) {
        nowMs += minutes * MINUTE_MS
        await Promise.allSettled(claimers.map((claimer) => claimer.runDue()))
      },
    }
  }

  test('two claimers start exactly one flow per instant', async () => {
    const { look, started } = await setUp([schedule()])
    for (let minute = 0; minute < 10; minute++) await look(1)
    expect(started).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10])
  })

  test('the rule for missed instants decides how many flows are started for them', async () => {
    for (const [missed, expected] of [
      ['once', [7]],
      ['all', [2, 3, 4, 5, 6, 7]],
      ['skip', [7]],
    ] as const) {
      const { look, started } = await setUp([schedule({ missed })])
      await look(1)
      await look(6)
      await look(0)
      expect(started).toEqual(expected)
    }
  })

  test('a flow whose start fails because the database is away is started after the lease, at once or with the next instant', async () => {
    let failures = 1
    const { look, started } = await setUp([schedule()], async (given, instant) => {
      if (failures-- > 0) throw new OrchestratorError('DATABASE_UNAVAILABLE', 'away')
      return toScheduledFlowId(given.name, instant)
    })
    for (const minutes of [1, 1, 0.5]) await look(minutes)
    expect(started).toEqual([])
    await look(0.5)
    expect(started).toEqual([3])
  })

  test('a flow that cannot be started is recorded with its problem, and the schedule goes on', async () => {
    const { look, list } = await setUp([schedule()], async () => {
      throw new Error('no such template')
    })
    await look(1)
    await look(1)
    const [state] = await list()
    expect(state).toMatchObject({ lastAt: new Date(START_MS + 2 * MINUTE_MS), nextAt: new Date(START_MS + 3 * MINUTE_MS) })
    expect(state?.lastProblem).toContain('INTERNAL')
  })
})

describe('schedules of a configuration', () => {
  const answer = {
    name: 'answer',
    type: 'sequential',
    steps: [{ id: 'answer', model: 'scripted/model', action: 'generate', prompt: 'original' }],
  } as const

  async function openScheduled(schedules: PolyphonyConfigInput['schedules']): Promise<Polyphony> {
    const scripted = createScriptedProvider({ replies: () => 'the report' })
    const polyphony = await openTestPolyphony({ providers: { scripted }, schedules })
    onTestFinished(() => polyphony.close())
    return polyphony
  }

  test('a due schedule runs its flow for its user, in a thread of its own, and is listed with it', async () => {
    const polyphony = await openScheduled([{ name: 'report', every: '1s', flow: answer, input: 'What happened?', userId: 'ada' }])
    expect(await polyphony.schedules.list()).toMatchObject([{ name: 'report', flow: 'answer', userId: 'ada', missed: 'once' }])
    polyphony.startBackgroundWork()
    await expect.poll(async () => (await polyphony.schedules.list())[0]?.lastFlowId, { timeout: 10_000 }).toBeDefined()
    const [listed] = await polyphony.schedules.list()
    const flowId = listed?.lastFlowId ?? ''
    await expect.poll(async () => (await polyphony.orchestrator.getFlow(flowId, 'ada')).status).toBe('COMPLETED')
    const [thread] = await polyphony.conversations.listThreads('ada')
    expect(thread?.title).toBe('report')
    expect(listed?.lastProblem).toBeUndefined()
  })
})
