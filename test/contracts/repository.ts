import { randomUUID } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { StepResult } from '../../src/domain/execution/step-result.ts'
import type { ThreadRight } from '../../src/domain/users/thread.ts'
import type { ListFlowsQuery, Store } from '../../src/repositories/repository.ts'
import {
  attempt,
  definitionOf,
  failedAttempt,
  failedResult,
  instant,
  newClaim,
  newFlow,
  newMessage,
  newThread,
  outcome,
  stepResult,
  update,
  wellFormed,
} from '../support/stored-data.ts'
import { describeCallers, newApiKey, newHash, newRequest } from './repository-callers.ts'
import { describeLists } from './repository-lists.ts'
import { describeUsage } from './repository-usage.ts'
import { createStoreFixture } from './store-fixture.ts'

export interface OpenedStore {
  readonly store: Store
  /** Closes the store and opens another one over the same data; absent where nothing survives. */
  readonly reopen?: () => Promise<Store>
  close(): Promise<void>
}

/** What every Store promises. Rows of other tests stand beside the ones a test looks at: ids are random, and counts are of own rows only. */
export function describeRepository(name: string, open: () => Promise<OpenedStore>): void {
  describe(`${name} as a store`, () => {
    let opened: OpenedStore
    let store: Store
    beforeAll(async () => {
      opened = await open()
      store = opened.store
    })
    afterAll(() => opened?.close())

    const fixture = createStoreFixture(() => store)
    const { thread, pendingFlow, claimed, runningFlow } = fixture
    const resultIds = async (flowId: string) => (await store.flows.stepResults(flowId, { samples: true })).map(({ id }) => id)
    const refusal = (write: Promise<unknown>) =>
      write.then(
        () => 'accepted',
        (error: { code?: string }) => error.code,
      )

    describe('flows', () => {
      test('finds a new flow as PENDING with every field it was given', async () => {
        const { carried: _carried, ...flow } = await pendingFlow({
          description: 'Two voices',
          flowType: 'critique',
          input: 'A prompt',
          metadata: { tag: 'x', nested: { list: [1, null, 'two'], no: false } },
          parentFlowId: randomUUID(),
          simulated: true,
        })
        expect(await store.flows.find(flow.id)).toEqual({ ...flow, status: 'PENDING', ownerEpoch: 0 })
      })

      test('leaves what a new flow was not given undefined', async () => {
        const flow = await pendingFlow()
        expect(await store.flows.find(flow.id)).toEqual({ ...flow, status: 'PENDING', ownerEpoch: 0 })
      })

      test('finds no flow under an unknown id', async () => {
        expect(await store.flows.find(randomUUID())).toBeUndefined()
        expect(await store.flows.stepResults(randomUUID())).toEqual([])
        expect(await store.updates.lastSeq(randomUUID())).toBe(0)
        expect(await store.updates.read(randomUUID(), 0, 10)).toEqual([])
      })

      test('refuses a second flow of the same id and keeps the first, while others of the same moment are written', async () => {
        const { id: threadId } = await thread()
        const first = newFlow(threadId, { name: 'first' })
        await store.journal.createFlow(first)
        const others = [newFlow(threadId), newFlow(threadId)]
        const writes = [others[0], newFlow(threadId, { id: first.id, name: 'second' }), others[1]].flatMap((flow) => flow ?? [])
        const settled = await Promise.allSettled(writes.map((flow) => store.journal.createFlow(flow)))
        expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
        expect((await store.flows.find(first.id))?.name).toBe('first')
        for (const other of others) expect(await store.flows.find(other.id)).toBeDefined()
      })

      test('refuses a new flow whose thread does not exist or is gone, while others of the same moment are written', async () => {
        const gone = await thread()
        await store.threads.delete(gone.id)
        const carried = [stepResult(randomUUID(), 'draft')]
        const threadIds = [(await thread()).id, gone.id, randomUUID()]
        const flows = threadIds.map((threadId) => newFlow(threadId, { carried }))
        const codes = await Promise.all(flows.map((flow) => refusal(store.journal.createFlow(flow))))
        expect(codes).toEqual(['accepted', 'THREAD_NOT_FOUND', 'THREAD_NOT_FOUND'])
        expect((await Promise.all(flows.map(({ id }) => store.flows.find(id)))).map((flow) => flow !== undefined)).toEqual([
          true,
          false,
          false,
        ])
        expect((await Promise.all(flows.map(({ id }) => resultIds(id)))).map((ids) => ids.length)).toEqual([1, 0, 0])
      })

      test('leaves no flow of a thread that is deleted while flows are created in it', async () => {
        for (let round = 0; round < 5; round++) {
          const { id: threadId } = await thread()
          const flows = Array.from({ length: 12 }, () => newFlow(threadId))
          const creating = flows.map(async (flow, index) => {
            for (let turn = 0; turn < index; turn++) await new Promise<void>((resolve) => setImmediate(resolve))
            return refusal(store.journal.createFlow(flow))
          })
          const deleting = sleep(round).then(() => store.threads.delete(threadId))
          expect(['accepted', 'THREAD_NOT_FOUND']).toEqual(expect.arrayContaining(await Promise.all(creating)))
          expect(await deleting).toBe(true)
          expect(await Promise.all(flows.map(({ id }) => store.flows.find(id)))).toEqual(flows.map(() => undefined))
        }
      })

      test('gives flows of one definition the same definition, and keeps it when one of them goes', async () => {
        const definition = definitionOf(`{"name":"shared","mark":"${randomUUID()}"}`)
        const [a, b] = [await pendingFlow({ definition }), await pendingFlow({ definition: { ...definition } })]
        expect(await store.flows.delete(a.id)).toBe('deleted')
        expect((await store.flows.find(b.id))?.definition).toEqual(definition)
      })

      test('keeps a definition with functions apart from one that is data', async () => {
        const definition = { ...definitionOf(`{"prompt":{"$function":true},"mark":"${randomUUID()}"}`), isData: false }
        const flow = await pendingFlow({ definition })
        expect((await store.flows.find(flow.id))?.definition).toEqual(definition)
      })

      test('gives carried results to the new flow under its own id', async () => {
        const parent = await pendingFlow()
        const carried = [stepResult(parent.id, 'draft'), stepResult(parent.id, 'critique', { iteration: 2 })]
        const flow = await pendingFlow({ parentFlowId: parent.id, carried })
        const own = carried.map((result) => ({
          ...result,
          flowId: flow.id,
          id: `${flow.id}/${result.stepId}#${result.iteration}.0`,
        }))
        expect(await store.flows.stepResults(flow.id)).toEqual(own)
        expect(await store.flows.stepResults(parent.id)).toEqual([])
      })

      test('deletes a flow with its results and updates', async () => {
        const { flowId, epoch } = await runningFlow()
        await store.journal.finish({
          flowId,
          epoch,
          results: [stepResult(flowId, 'draft')],
          updates: [update(1)],
          outcome: outcome(),
        })
        expect(await store.flows.delete(flowId)).toBe('deleted')
        expect(await store.flows.find(flowId)).toBeUndefined()
        expect(await store.flows.stepResults(flowId, { samples: true })).toEqual([])
        expect(await store.updates.read(flowId, 0, 10)).toEqual([])
        expect(await store.updates.lastSeq(flowId)).toBe(0)
        expect(await store.updates.heads([flowId])).toEqual(new Map())
        expect(await store.flows.delete(flowId)).toBe('missing')
      })

      test('tells of many flows at once how far they are, and nothing of those that are not there', async () => {
        const pending = await pendingFlow()
        const { flowId, epoch } = await runningFlow()
        await store.journal.append({ flowId, epoch, updates: [update(1), update(2)] })
        await store.journal.append({ flowId, epoch, updates: [update(3)] })
        const heads = await store.updates.heads([pending.id, randomUUID(), flowId, 'no id at all', '\0'])
        expect(heads).toEqual(
          new Map([
            [pending.id, { status: 'PENDING', lastSeq: 0 }],
            [flowId, { status: 'RUNNING', lastSeq: 3 }],
          ]),
        )
        expect(await store.updates.heads([])).toEqual(new Map())
      })

      test('does not delete a running flow', async () => {
        const { flowId, epoch } = await runningFlow()
        await store.journal.append({ flowId, epoch, results: [stepResult(flowId, 'draft')] })
        expect(await store.flows.delete(flowId)).toBe('running')
        expect(await resultIds(flowId)).toHaveLength(1)
      })
    })

    describe('lists of flows', () => {
      const query = (threadId: string, overrides: Partial<ListFlowsQuery> = {}): ListFlowsQuery => ({
        threadId,
        limit: 100,
        offset: 0,
        sortBy: 'createdAt',
        sortOrder: 'ASC',
        ...overrides,
      })
      const names = async (threadId: string, overrides: Partial<ListFlowsQuery> = {}) =>
        (await store.flows.list(query(threadId, overrides))).map((flow) => flow.name)

      test('are empty for a thread without flows and for an unknown thread', async () => {
        expect(await store.flows.list(query((await thread()).id))).toEqual([])
        expect(await store.flows.list(query(randomUUID()))).toEqual([])
      })

      test('hold the flows of their thread only, as find gives them but without their texts', async () => {
        const { flowId, epoch } = await runningFlow({ metadata: { tag: 'x' }, parentFlowId: randomUUID() })
        const { result: totals } = outcome()
        if (!totals) throw new Error('expected an outcome with totals')
        await store.journal.finish({ flowId, epoch, outcome: outcome({ result: { ...totals, output: 'long' } }) })
        await pendingFlow()
        const stored = await store.flows.find(flowId)
        if (!stored) throw new Error('expected the flow to be stored')
        const { input, metadata, runOptions, result, ...facts } = stored
        expect(result?.output).toBe('long')
        expect(await store.flows.list(query(stored.threadId))).toEqual([{ ...facts, inputStart: input, result: totals }])
      })

      test('hold the first 200 characters of an input, none of them cut in two', async () => {
        const flow = await pendingFlow({ input: `${'\u{1f600}'.repeat(250)} end` })
        expect((await store.flows.list(query(flow.threadId)))[0]?.inputStart).toBe('\u{1f600}'.repeat(200))
      })

      test('are completed by the states of their steps, without what those wrote', async () => {
        const { flowId, epoch } = await runningFlow()
        const other = await pendingFlow()
        const results = [
          stepResult(flowId, 'draft'),
          failedResult(flowId, 'review'),
          stepResult(flowId, 'draft', { iteration: 2 }),
          stepResult(flowId, 'vote', { sample: 1 }),
        ]
        await store.journal.append({ flowId, epoch, results })
        const unknown = randomUUID()
        const states = await store.flows.stepStates([flowId, other.id, unknown])
        expect([...states]).toEqual([
          [
            flowId,
            [
              { stepId: 'draft', status: 'SUCCESS' },
              { stepId: 'review', status: 'FAILED' },
            ],
          ],
          [other.id, []],
          [unknown, []],
        ])
        const only = await store.flows.stepResults(flowId, { samples: true, stepIds: ['vote', 'draft'] })
        expect(only.map(({ stepId, iteration }) => [stepId, iteration])).toEqual([
          ['draft', 1],
          ['draft', 2],
          ['vote', 1],
        ])
      })

      test('are filtered by status and type', async () => {
        const { id: threadId } = await thread()
        await pendingFlow({ threadId, name: 'a', flowType: 'parallel' })
        await pendingFlow({ threadId, name: 'b', flowType: 'critique', createdAt: instant(1) })
        await runningFlow({ threadId, name: 'c', flowType: 'critique', createdAt: instant(2) })
        expect(await names(threadId, { status: 'RUNNING' })).toEqual(['c'])
        expect(await names(threadId, { type: 'critique' })).toEqual(['b', 'c'])
        expect(await names(threadId, { type: 'critique', status: 'PENDING' })).toEqual(['b'])
        expect(await names(threadId, { type: 'graph' })).toEqual([])
      })

      test('are sorted by creation, completion or name, both ways', async () => {
        const { id: threadId } = await thread()
        for (const [index, flowName] of ['beta', 'gamma', 'alpha'].entries()) {
          const { flowId, epoch } = await runningFlow({ threadId, name: flowName, createdAt: instant(index) })
          await store.journal.finish({ flowId, epoch, outcome: outcome({ completedAt: instant(100 - index) }) })
        }
        expect(await names(threadId)).toEqual(['beta', 'gamma', 'alpha'])
        expect(await names(threadId, { sortOrder: 'DESC' })).toEqual(['alpha', 'gamma', 'beta'])
        expect(await names(threadId, { sortBy: 'completedAt' })).toEqual(['alpha', 'gamma', 'beta'])
        expect(await names(threadId, { sortBy: 'completedAt', sortOrder: 'DESC' })).toEqual(['beta', 'gamma', 'alpha'])
        expect(await names(threadId, { sortBy: 'name' })).toEqual(['alpha', 'beta', 'gamma'])
        expect(await names(threadId, { sortBy: 'name', sortOrder: 'DESC' })).toEqual(['gamma', 'beta', 'alpha'])
      })

      test('by completion have unfinished flows at their end, both ways', async () => {
        const { id: threadId } = await thread()
        const unfinished = await pendingFlow({ threadId })
        const alsoUnfinished = await pendingFlow({ threadId })
        const finished: string[] = []
        for (const second of [100, 200]) {
          const { flowId, epoch } = await runningFlow({ threadId })
          await store.journal.finish({ flowId, epoch, outcome: outcome({ completedAt: instant(second) }) })
          finished.push(flowId)
        }
        const waiting = [unfinished.id, alsoUnfinished.id].sort()
        const ids = async (sortOrder: 'ASC' | 'DESC') =>
          (await store.flows.list(query(threadId, { sortBy: 'completedAt', sortOrder }))).map(({ id }) => id)
        expect(await ids('ASC')).toEqual([...finished, ...waiting])
        expect(await ids('DESC')).toEqual([...finished.toReversed(), ...waiting.toReversed()])
      })

      test.each(['createdAt', 'completedAt', 'name'] as const)(
        'show every flow on exactly one page when all tie by %s',
        async (sortBy) => {
          const { id: threadId } = await thread()
          const ids = await Promise.all(Array.from({ length: 11 }, async () => (await pendingFlow({ threadId })).id))
          for (const sortOrder of ['ASC', 'DESC'] as const) {
            const paged: string[] = []
            for (let offset = 0; offset < 16; offset += 4) {
              const page = await store.flows.list(query(threadId, { sortBy, sortOrder, limit: 4, offset }))
              paged.push(...page.map((flow) => flow.id))
            }
            expect(paged).toHaveLength(11)
            expect(new Set(paged)).toEqual(new Set(ids))
          }
        },
      )
    })

    describe('claims', () => {
      test('take a flow: RUNNING, first epoch, owner, start and input', async () => {
        const flow = await pendingFlow({ metadata: { tag: 'given at creation' } })
        const claim = newClaim(flow.id, { metadata: { tag: 'given at start' } })
        expect(await store.journal.claim(claim)).toEqual({ epoch: 1 })
        const { ownerId, startedAt, input, metadata } = claim
        expect(await store.flows.find(flow.id)).toEqual({
          ...flow,
          status: 'RUNNING',
          ownerEpoch: 1,
          ownerId,
          startedAt,
          input,
          metadata,
        })
      })

      test('keep how the execution was to go, until the next one', async () => {
        const runOptions = { streaming: true, saveMessages: true, timeout: { flow: 5 }, limits: { maxCostUsd: 0.5 } }
        const flow = await pendingFlow()
        await store.journal.claim(newClaim(flow.id, { runOptions }))
        expect((await store.flows.find(flow.id))?.runOptions).toEqual(runOptions)
        await store.journal.finish({ flowId: flow.id, epoch: 1, outcome: outcome({ status: 'FAILED' }) })
        expect((await store.flows.find(flow.id))?.runOptions).toEqual(runOptions)
        await store.journal.claim(newClaim(flow.id))
        expect((await store.flows.find(flow.id))?.runOptions).toBeUndefined()
      })

      test('without metadata leave the metadata of the flow', async () => {
        const { flowId } = await runningFlow({ metadata: { tag: 'given at creation' } })
        expect((await store.flows.find(flowId))?.metadata).toEqual({ tag: 'given at creation' })
      })

      test('name the status that stands in the way and change nothing', async () => {
        const { flowId, epoch } = await runningFlow()
        const running = await store.flows.find(flowId)
        expect(await store.journal.claim(newClaim(flowId, { input: 'other' }))).toEqual({ status: 'RUNNING' })
        expect(await store.flows.find(flowId)).toEqual(running)
        await store.journal.finish({ flowId, epoch, outcome: outcome() })
        expect(await store.journal.claim(newClaim(flowId))).toEqual({ status: 'COMPLETED' })
        expect((await store.flows.find(flowId))?.status).toBe('COMPLETED')
      })

      test('of an unknown flow find no status', async () => {
        expect(await store.journal.claim(newClaim(randomUUID()))).toEqual({ status: undefined })
      })

      test('of many at once are won by exactly one', async () => {
        const flow = await pendingFlow()
        const claims = Array.from({ length: 20 }, () => newClaim(flow.id))
        const answers = await Promise.all(claims.map((claim) => store.journal.claim(claim)))
        const won = answers.flatMap((answer, index) => ('epoch' in answer ? [index] : []))
        expect(won).toHaveLength(1)
        expect(answers.filter((answer) => 'status' in answer && answer.status === 'RUNNING')).toHaveLength(19)
        expect((await store.flows.find(flow.id))?.ownerId).toBe(claims[won[0] ?? 0]?.ownerId)
      })

      test('of several flows at once do not disturb each other', async () => {
        const flows = await Promise.all(Array.from({ length: 10 }, () => pendingFlow()))
        const answers = await Promise.all(
          flows.flatMap(({ id }) => [store.journal.claim(newClaim(id)), store.journal.claim(newClaim(id))]),
        )
        expect(answers.filter((answer) => 'epoch' in answer)).toHaveLength(10)
        for (const { id } of flows) expect(await store.flows.find(id)).toMatchObject({ status: 'RUNNING', ownerEpoch: 1 })
      })

      test.each(['FAILED', 'CANCELLED', 'PAUSED'] as const)(
        'take a %s flow under the next epoch and forget its outcome',
        async (status) => {
          const { flowId, epoch } = await runningFlow()
          const error = { code: 'PROVIDER_AUTH', message: 'No key.', retryable: false, details: {} } as const
          await store.journal.finish({ flowId, epoch, outcome: outcome({ status, error }) })
          expect(await store.journal.claim(newClaim(flowId, { input: 'again', startedAt: instant(500) }))).toEqual({ epoch: 2 })
          const flow = await store.flows.find(flowId)
          expect(flow).toMatchObject({ status: 'RUNNING', ownerEpoch: 2, input: 'again', startedAt: instant(500) })
          expect([flow?.error, flow?.completedAt, flow?.result]).toEqual([undefined, undefined, undefined])
        },
      )

      test('may take a running flow over when RUNNING is among their statuses', async () => {
        const { flowId, epoch } = await runningFlow()
        expect(await store.journal.claim(newClaim(flowId, { from: ['RUNNING'] }))).toEqual({ epoch: epoch + 1 })
      })
    })

    describe('the fence', () => {
      test('refuses results and updates of an earlier owner and writes none of them', async () => {
        const { flowId, epoch } = await runningFlow()
        await claimed(newClaim(flowId, { from: ['RUNNING'] }))
        const late = { flowId, epoch, results: [stepResult(flowId, 'draft')], updates: [update(1)] }
        await expect(store.journal.append(late)).rejects.toMatchObject({ code: 'FLOW_INTERRUPTED' })
        await expect(store.journal.finish({ ...late, outcome: outcome() })).rejects.toMatchObject({ code: 'FLOW_INTERRUPTED' })
        expect(await resultIds(flowId)).toEqual([])
        expect(await store.updates.lastSeq(flowId)).toBe(0)
        expect((await store.flows.find(flowId))?.status).toBe('RUNNING')
      })

      test('holds for the messages of a step, each of which is written once', async () => {
        const { flow, flowId, epoch } = await runningFlow()
        const message = newMessage(flow.threadId, { role: 'assistant', content: 'said' })
        const entry = { flowId, epoch, results: [stepResult(flowId, 'draft')], messages: [message] }
        const contents = async () => (await store.threads.messages(flow.threadId)).map(({ content }) => content)
        await store.journal.append(entry)
        await store.journal.append(entry)
        expect(await contents()).toEqual(['said'])
        await claimed(newClaim(flowId, { from: ['RUNNING'] }))
        const late = { ...entry, messages: [newMessage(flow.threadId, { role: 'assistant', content: 'too late' })] }
        expect(await refusal(store.journal.append(late))).toBe('FLOW_INTERRUPTED')
        expect(await contents()).toEqual(['said'])
      })

      test('refuses writes to a flow that is gone', async () => {
        const { flow, flowId, epoch } = await runningFlow()
        await store.threads.delete(flow.threadId)
        expect(await refusal(store.journal.append({ flowId, epoch, results: [stepResult(flowId, 'draft')] }))).toBe(
          'FLOW_INTERRUPTED',
        )
        expect(await refusal(store.journal.finish({ flowId, epoch, outcome: outcome() }))).toBe('FLOW_INTERRUPTED')
      })

      test('does not fail the writes of other flows at the same moment', async () => {
        const flows = await Promise.all(Array.from({ length: 6 }, () => runningFlow()))
        const answers = await Promise.all(
          flows.map(({ flowId, epoch }, index) =>
            refusal(
              store.journal.append({
                flowId,
                epoch: index % 2 === 0 ? epoch : epoch - 1,
                results: [stepResult(flowId, 'draft')],
                updates: [update(1)],
              }),
            ),
          ),
        )
        expect(answers).toEqual(Array.from({ length: 3 }, () => ['accepted', 'FLOW_INTERRUPTED']).flat())
        for (const [index, { flowId }] of flows.entries()) {
          expect(await resultIds(flowId)).toHaveLength(index % 2 === 0 ? 1 : 0)
          expect(await store.updates.lastSeq(flowId)).toBe(index % 2 === 0 ? 1 : 0)
        }
      })
    })

    describe('results', () => {
      const roundTrip = async (build: (flowId: string) => StepResult) => {
        const { flowId, epoch } = await runningFlow()
        const given = build(flowId)
        await store.journal.append({ flowId, epoch, results: [given] })
        const [read] = await store.flows.stepResults(flowId, { samples: true })
        return { given, read }
      }

      test('come back exactly, with attempts, decisions, notes and dates', async () => {
        const { given, read } = await roundTrip((flowId) =>
          stepResult(flowId, 'draft', {
            iteration: 3,
            action: 'critique',
            output: 'Größe 😀 \u2028 "quoted" \\ back\r\n',
            parsed: { score: 0.8, issues: ['a', { b: null }] },
            refusal: 'no',
            reasoning: 'First the pumps \u2028 then 😀',
            sources: [
              { kind: 'citation', url: 'https://example.org/a?b=1#c', title: 'Größe', startIndex: 0, endIndex: 4 },
              { kind: 'search_result', text: 'quoted "text"' },
            ],
            finishReason: 'length',
            attempts: [
              failedAttempt(1),
              attempt(2, { provider: 'anthropic', possiblyDoubleBilled: true, aborted: true, cost: 0.1 + 0.2 }),
              attempt(3, {
                usage: { outputTokens: 7, reasoningTokens: 3, source: 'estimated' },
                costSource: 'provider',
                pricesDate: '2026-01-01',
              }),
            ],
            sharing: [
              { kind: 'step_output', piece: 'draft', from: 'openai', to: 'anthropic', allowed: false, rule: 'no_policy' },
              { kind: 'original_prompt', piece: 'original', to: 'anthropic', allowed: true, rule: 'original_prompt' },
            ],
            notes: ['temperature left out', 'ünïcode'],
            messageId: randomUUID(),
          }),
        )
        expect(read).toEqual(given)
        expect(read?.startedAt).toBeInstanceOf(Date)
        expect(read?.attempts[0]?.startedAt).toBeInstanceOf(Date)
      })

      test('without output, usage and cost leave them undefined', async () => {
        const { given, read } = await roundTrip((flowId) => failedResult(flowId, 'draft'))
        expect(read).toEqual(given)
        expect([read?.output, read?.usage, read?.cost, read?.parsed, read?.samples, read?.attempts[0]?.usage]).toEqual(
          Array(6).fill(undefined),
        )
      })

      test('of a step that never called anyone come back without attempts', async () => {
        const { given, read } = await roundTrip((flowId) => {
          const { output: _output, finishReason: _reason, ...result } = stepResult(flowId, 'draft', { attempts: [] })
          return { ...result, status: 'SKIPPED', notes: ['condition is false'] }
        })
        expect(read).toEqual(given)
      })

      test('of unknown price and usage stay unknown', async () => {
        const { cost: _cost, costSource: _source, pricesDate: _date, ...unpriced } = attempt(1, { usage: { source: 'unknown' } })
        const { given, read } = await roundTrip((flowId) => stepResult(flowId, 'draft', { attempts: [unpriced] }))
        expect(read).toEqual(given)
        expect(read?.cost).toBeUndefined()
      })

      test('keep a cost of zero, an empty output and simulated attempts', async () => {
        const { given, read } = await roundTrip((flowId) =>
          stepResult(flowId, 'draft', { output: '', simulated: true, attempts: [attempt(1, { cost: 0, simulated: true })] }),
        )
        expect(read).toEqual(given)
        expect([read?.cost, read?.output]).toEqual([0, ''])
      })

      test.each([null, false, 0, '', [], {}, 'text', 1.5, [null], { a: { b: [0, false, null, 'ü'] } }])(
        'keep the parsed value %j',
        async (parsed) => {
          const { read } = await roundTrip((flowId) => stepResult(flowId, 'draft', { parsed }))
          expect(read?.parsed).toStrictEqual(parsed)
        },
      )

      test('keep a U+FEFF that they begin with', async () => {
        const text = '\ufeffid;name'
        const { flowId, epoch } = await runningFlow({ name: text, description: '\ufeff' }, { input: `\ufeff${text}` })
        const result = stepResult(flowId, 'draft', { output: text, parsed: text, samples: [text, '\ufeff'] })
        await store.journal.append({ flowId, epoch, results: [result], updates: [update(1, { data: { delta: text } })] })
        const [read] = await store.flows.stepResults(flowId)
        expect([read?.output, read?.parsed, read?.samples]).toEqual([text, text, [text, '\ufeff']])
        expect(await store.flows.find(flowId)).toMatchObject({ name: text, description: '\ufeff', input: `\ufeff${text}` })
        expect(await store.updates.read(flowId, 0, 10)).toMatchObject([{ data: { delta: text } }])
        const { id: threadId } = await thread()
        await store.threads.addMessage(newMessage(threadId, { content: text }))
        expect(await store.threads.messages(threadId)).toMatchObject([{ content: text }])
      })

      test('take NUL and lone surrogates anywhere, verbatim or as U+FFFD', async () => {
        const hostile = 'a\0b\ud800c\udc00d😀\uffff'
        const { flowId, epoch } = await runningFlow({ name: hostile, metadata: { [hostile]: hostile } }, { input: hostile })
        const error = { code: 'STEP_FAILED', message: hostile, retryable: false, details: { cause: hostile } } as const
        const result = stepResult(flowId, 'draft', {
          output: hostile,
          parsed: { [hostile]: [hostile] },
          notes: [hostile],
          samples: [hostile],
          attempts: [{ ...failedAttempt(1), error }],
        })
        await store.journal.finish({
          flowId,
          epoch,
          results: [result],
          updates: [update(1, { data: { delta: hostile } })],
          outcome: outcome({ status: 'FAILED', error }),
        })
        const clean = wellFormed(hostile)
        const [read] = await store.flows.stepResults(flowId)
        expect(wellFormed(read?.output ?? '')).toBe(clean)
        expect(read?.attempts).toHaveLength(1)
        const flow = await store.flows.find(flowId)
        expect([flow?.name, flow?.input, flow?.error?.message].map((text) => wellFormed(text ?? ''))).toEqual([
          clean,
          clean,
          clean,
        ])
        expect(await store.updates.lastSeq(flowId)).toBe(1)
      })

      test('of 2 MB come back whole', async () => {
        const output = 'ä😀"\\\n'.repeat(300_000)
        const { read } = await roundTrip((flowId) => stepResult(flowId, 'draft', { output }))
        expect(read?.output === output).toBe(true)
      })

      test('stand in the order they were recorded, also when nobody waited between them', async () => {
        const { flowId, epoch } = await runningFlow()
        const stepIds = Array.from({ length: 40 }, (_, index) => `step${(index * 7) % 40}`)
        await Promise.all(stepIds.map((stepId) => store.journal.append({ flowId, epoch, results: [stepResult(flowId, stepId)] })))
        expect((await store.flows.stepResults(flowId)).map(({ stepId }) => stepId)).toEqual(stepIds)
      })

      test('of samples are read only when asked for', async () => {
        const { flowId, epoch } = await runningFlow()
        const joined = stepResult(flowId, 'draft', { samples: ['one', 'two'] })
        await store.journal.append({
          flowId,
          epoch,
          results: [
            stepResult(flowId, 'draft', { sample: 1, output: 'one' }),
            stepResult(flowId, 'draft', { sample: 2, output: 'two' }),
            joined,
          ],
        })
        expect(await store.flows.stepResults(flowId)).toEqual([joined])
        expect((await store.flows.stepResults(flowId, { samples: true })).map(({ sample }) => sample)).toEqual([1, 2, 0])
      })

      test('of one step in several iterations stand beside each other', async () => {
        const { flowId, epoch } = await runningFlow()
        const results = [1, 2, 3].map((iteration) => stepResult(flowId, 'draft', { iteration, output: `v${iteration}` }))
        for (const result of results) await store.journal.append({ flowId, epoch, results: [result] })
        expect(await store.flows.stepResults(flowId)).toEqual(results)
      })

      test('with SUCCESS are never replaced', async () => {
        const { flowId, epoch } = await runningFlow()
        const first = stepResult(flowId, 'draft', { output: 'first' })
        await store.journal.append({ flowId, epoch, results: [first] })
        await store.journal.append({ flowId, epoch, results: [stepResult(flowId, 'draft', { output: 'second' })] })
        await store.journal.append({ flowId, epoch, results: [failedResult(flowId, 'draft')] })
        const [read, ...rest] = await store.flows.stepResults(flowId)
        expect([read?.status, read?.output, rest]).toEqual(['SUCCESS', 'first', []])
      })

      test.each(['FAILED', 'SKIPPED', 'CANCELLED'] as const)('with %s are replaced by those of a later run', async (status) => {
        const { flowId, epoch } = await runningFlow()
        await store.journal.finish({
          flowId,
          epoch,
          results: [{ ...failedResult(flowId, 'draft'), status }],
          outcome: outcome({ status: 'FAILED' }),
        })
        const nextEpoch = await claimed(newClaim(flowId))
        const later = stepResult(flowId, 'draft', { attempts: [failedAttempt(1), attempt(2)] })
        await store.journal.append({ flowId, epoch: nextEpoch, results: [later] })
        expect(await store.flows.stepResults(flowId)).toEqual([later])
      })

      test.each([
        ['only its own attempts', (flowId: string) => stepResult(flowId, 'draft', { attempts: [attempt(3)] })],
        [
          'all attempts so far',
          (flowId: string) =>
            stepResult(flowId, 'draft', { attempts: [failedAttempt(1), attempt(2, { aborted: true }), attempt(3)] }),
        ],
      ])('keep the attempts of earlier runs when a later result names %s', async (_title, later) => {
        const { flowId, epoch } = await runningFlow()
        const paid = [failedAttempt(1), attempt(2, { aborted: true })]
        await store.journal.finish({
          flowId,
          epoch,
          results: [failedResult(flowId, 'draft', { attempts: paid })],
          outcome: outcome({ status: 'FAILED' }),
        })
        const nextEpoch = await claimed(newClaim(flowId))
        await store.journal.append({ flowId, epoch: nextEpoch, results: [later(flowId)] })
        const [read] = await store.flows.stepResults(flowId)
        expect(read?.status).toBe('SUCCESS')
        expect(read?.attempts).toEqual([...paid, attempt(3)])
      })
    })

    describe('outcomes', () => {
      test('stand on the flow with its last results and updates', async () => {
        const { flow, flowId, epoch } = await runningFlow({ input: 'A prompt' })
        await store.journal.append({ flowId, epoch, results: [stepResult(flowId, 'draft')], updates: [update(1)] })
        const ended = outcome({
          result: {
            output: 'joined text',
            totalCost: 0.1 + 0.2,
            totalTokens: 12,
            usage: { inputTokens: 5, outputTokens: 7, totalTokens: 12, source: 'estimated' },
            unpricedSteps: 1,
            totalExecutionTime: 77,
            stopReason: 'plateau',
          },
          simulated: true,
        })
        await store.journal.finish({
          flowId,
          epoch,
          results: [stepResult(flowId, 'judge')],
          updates: [update(2)],
          outcome: ended,
        })
        const found = await store.flows.find(flowId)
        expect(found).toMatchObject({ ...flow, input: 'Write a haiku', status: 'COMPLETED', ownerEpoch: 1, simulated: true })
        expect([found?.result, found?.completedAt, found?.error]).toEqual([ended.result, ended.completedAt, undefined])
        expect((await store.flows.stepResults(flowId)).map(({ stepId }) => stepId)).toEqual(['draft', 'judge'])
        expect(await store.updates.lastSeq(flowId)).toBe(2)
      })

      test('of a failed flow keep the whole error', async () => {
        const { flowId, epoch } = await runningFlow()
        const error = {
          code: 'STEP_FAILED',
          message: 'It broke.',
          retryable: false,
          details: { flowId, stepId: 'draft', list: [1, null] },
        } as const
        await store.journal.finish({
          flowId,
          epoch,
          outcome: { status: 'FAILED', completedAt: instant(5), error, simulated: false },
        })
        expect(await store.flows.find(flowId)).toMatchObject({ status: 'FAILED', error, completedAt: instant(5) })
      })

      test('follow everything that was appended before them without waiting', async () => {
        const { flowId, epoch } = await runningFlow()
        const writes = [1, 2, 3].map((seq) =>
          store.journal.append({ flowId, epoch, results: [stepResult(flowId, `step${seq}`)], updates: [update(seq)] }),
        )
        await Promise.all([...writes, store.journal.finish({ flowId, epoch, updates: [update(4)], outcome: outcome() })])
        expect(await resultIds(flowId)).toHaveLength(3)
        expect((await store.updates.read(flowId, 0, 10)).map(({ seq }) => seq)).toEqual([1, 2, 3, 4])
        expect((await store.flows.find(flowId))?.status).toBe('COMPLETED')
      })
    })

    describe('updates', () => {
      test('come back in order as they were given', async () => {
        const { flowId, epoch } = await runningFlow()
        const given = [
          { seq: 1, type: 'flow_start' as const, data: { name: 'x', list: [1, null] }, timestamp: instant(1, 1) },
          update(2),
          { seq: 5, type: 'step_complete' as const, stepId: 'draft', iteration: 2, timestamp: instant(2, 2) },
        ]
        await store.journal.append({ flowId, epoch, updates: given.slice(0, 2) })
        await store.journal.append({ flowId, epoch, updates: given.slice(2) })
        expect(await store.updates.read(flowId, 0, 100)).toEqual(given)
        expect(await store.updates.lastSeq(flowId)).toBe(5)
      })

      test.each([null, false, 0, '', [], {}])('tell the data %j from none', async (data) => {
        const { flowId, epoch } = await runningFlow()
        const { data: _data, ...without } = update(2)
        await store.journal.append({ flowId, epoch, updates: [update(1, { data }), without] })
        const [first, second] = await store.updates.read(flowId, 0, 10)
        expect(first?.data).toStrictEqual(data)
        expect(second?.data).toBeUndefined()
      })

      test('are read after a number, at least as many as asked for, none twice', async () => {
        const { flowId, epoch } = await runningFlow()
        const all = Array.from({ length: 30 }, (_, index) => update(index + 1))
        for (let start = 0; start < 30; start += 3)
          await store.journal.append({ flowId, epoch, updates: all.slice(start, start + 3) })
        for (const [afterSeq, limit] of [
          [0, 1],
          [2, 4],
          [13, 100],
          [29, 5],
          [30, 5],
        ] as const) {
          const read = await store.updates.read(flowId, afterSeq, limit)
          expect(read.length).toBeGreaterThanOrEqual(Math.min(limit, 30 - afterSeq))
          expect(read).toEqual(all.slice(afterSeq, afterSeq + read.length))
        }
        const followed: number[] = []
        for (
          let page = await store.updates.read(flowId, 0, 4);
          page.length > 0;
          page = await store.updates.read(flowId, followed.at(-1) ?? 0, 4)
        ) {
          followed.push(...page.map(({ seq }) => seq))
        }
        expect(followed).toEqual(all.map(({ seq }) => seq))
      })

      test('are those of their flow only', async () => {
        const [a, b] = [await runningFlow(), await runningFlow()]
        await Promise.all([
          store.journal.append({ ...a, updates: [update(1), update(2)] }),
          store.journal.append({ ...b, updates: [update(1, { data: 'of b' })] }),
        ])
        expect(await store.updates.lastSeq(a.flowId)).toBe(2)
        expect((await store.updates.read(b.flowId, 0, 10)).map(({ data }) => data)).toEqual(['of b'])
      })

      test('are pruned where the flow settled before the instant, and results stay', async () => {
        const settledIn = async (year: number, status: 'COMPLETED' | 'FAILED' = 'COMPLETED') => {
          const { flowId, epoch } = await runningFlow()
          const completedAt = new Date(Date.UTC(year, 0, 1))
          await store.journal.finish({
            flowId,
            epoch,
            results: [stepResult(flowId, 'draft')],
            updates: [update(1)],
            outcome: outcome({ status, completedAt }),
          })
          return flowId
        }
        const [old, oldFailed, recent] = [await settledIn(1990), await settledIn(1991, 'FAILED'), await settledIn(1995)]
        const running = await runningFlow({}, { startedAt: new Date(Date.UTC(1990, 0, 1)) })
        await store.journal.append({ ...running, updates: [update(1)] })
        expect(await store.updates.prune(new Date(Date.UTC(1993, 0, 1)))).toBe(2)
        const left = await Promise.all(
          [old, oldFailed, recent, running.flowId].map(async (id) => (await store.updates.read(id, 0, 10)).length),
        )
        expect(left).toEqual([0, 0, 1, 1])
        expect(await resultIds(old)).toHaveLength(1)
        expect(await store.updates.prune(new Date(Date.UTC(1993, 0, 1)))).toBe(0)
      })
    })

    describe('threads', () => {
      test('are found as they were created, unknown ones not', async () => {
        const created = await thread()
        const { title: _title, ...untitled } = newThread()
        await store.threads.create(untitled)
        expect(await store.threads.find(created.id)).toEqual(created)
        expect(await store.threads.find(untitled.id)).toEqual(untitled)
        expect(await store.threads.find(randomUUID())).toBeUndefined()
      })

      test('are listed per user, newest first, in pages that do not overlap', async () => {
        const userId = `user-${randomUUID()}`
        await thread()
        const ids = []
        for (const second of [3, 1, 2]) ids.push((await thread({ userId, createdAt: instant(second) })).id)
        const listed = async (limit: number, offset: number) =>
          (await store.threads.list(userId, limit, offset)).map(({ id }) => id)
        expect(await listed(10, 0)).toEqual([ids[0], ids[2], ids[1]])
        expect(await listed(2, 1)).toEqual([ids[2], ids[1]])
        expect(await listed(2, 3)).toEqual([])
        const tied = `user-${randomUUID()}`
        const tiedIds = await Promise.all(Array.from({ length: 5 }, async () => (await thread({ userId: tied })).id))
        const pages = await Promise.all([0, 2, 4].map((offset) => store.threads.list(tied, 2, offset)))
        expect(new Set(pages.flat().map(({ id }) => id))).toEqual(new Set(tiedIds))
      })

      test('are deleted with messages, permissions and flows', async () => {
        const { id } = await thread()
        const flow = await pendingFlow({ threadId: id })
        await store.threads.addMessage(newMessage(id))
        await store.permissions.set(id, 'user-2', ['read'])
        expect(await store.threads.delete(id)).toBe(true)
        expect(await store.threads.find(id)).toBeUndefined()
        expect(await store.threads.messages(id)).toEqual([])
        expect(await store.threads.newestUserMessage(id)).toBeUndefined()
        expect(await store.permissions.rightsOf('user-2', id)).toEqual([])
        expect(await store.permissions.list(id)).toEqual([])
        expect(await store.flows.find(flow.id)).toBeUndefined()
        expect(await store.threads.delete(id)).toBe(false)
      })

      test('keep messages whole and in the order they were added, also within one millisecond', async () => {
        const { id } = await thread()
        const messages = [
          newMessage(id, {
            content: 'first',
            attachments: [
              { name: 'a.txt', mediaType: 'text/plain', text: 'ü' },
              { name: 'b.png', mediaType: 'image/png' },
            ],
          }),
          newMessage(id, { role: 'assistant', content: '', metadata: { provider: 'openai', deep: { list: [null, 0] } } }),
          newMessage(id, { role: 'system', content: 'third' }),
          newMessage(id, { content: 'fourth', createdAt: instant(1, 5) }),
        ]
        for (const message of messages) await store.threads.addMessage(message)
        expect(await store.threads.messages(id)).toEqual(messages)
        expect(await store.threads.messages(id, 2)).toEqual(messages.slice(2))
        expect(await store.threads.messages(id, 100)).toEqual(messages)
        expect(await store.threads.messages((await thread()).id)).toEqual([])
      })

      test('hold a message of one id once, also when it is added twice at the same time', async () => {
        const { id } = await thread()
        const message = newMessage(id, { role: 'assistant', content: 'the answer' })
        await Promise.all([store.threads.addMessage(message), store.threads.addMessage({ ...message })])
        await store.threads.addMessage({ ...message, content: 'another answer', createdAt: instant(9) })
        await store.threads.addMessage(newMessage(id, { content: 'next', createdAt: instant(10) }))
        expect((await store.threads.messages(id)).map(({ content }) => content)).toEqual(['the answer', 'next'])
      })

      test('are added many at once, in their order, or none of them', async () => {
        const { id } = await thread()
        const messages = Array.from({ length: 300 }, (_, index) => newMessage(id, { content: `message ${index}` }))
        await store.threads.addMessages(messages)
        await store.threads.addMessages([])
        expect(await store.threads.messages(id)).toEqual(messages)
        const { id: other } = await thread()
        // Memory looks at nothing but the thread, so nothing can be refused half-way.
        if (store.kind === 'memory') return
        const [first] = messages
        const refused = store.threads.addMessages([newMessage(other), newMessage(other, { id: first?.id })])
        await expect(refused).rejects.toThrow()
        expect(await store.threads.messages(other)).toEqual([])
      })

      test('tell their newest user message, past newer ones of others', async () => {
        const { id } = await thread()
        expect(await store.threads.newestUserMessage(id)).toBeUndefined()
        const newest = newMessage(id, { content: 'newest', createdAt: instant(2) })
        await store.threads.addMessage(newMessage(id, { content: 'older', createdAt: instant(1) }))
        await store.threads.addMessage(newest)
        await store.threads.addMessage(newMessage(id, { role: 'assistant', createdAt: instant(3) }))
        expect(await store.threads.newestUserMessage(id)).toEqual(newest)
      })

      test('take hostile text in titles and messages', async () => {
        const hostile = "'; DROP TABLE threads; -- \0 \ud800 %s $1"
        const { id } = await thread({ title: hostile })
        await store.threads.addMessage(newMessage(id, { content: hostile, metadata: { [hostile]: hostile } }))
        expect(wellFormed((await store.threads.find(id))?.title ?? '')).toBe(wellFormed(hostile))
        expect(wellFormed((await store.threads.messages(id))[0]?.content ?? '')).toBe(wellFormed(hostile))
      })
    })

    describe('permissions', () => {
      const sorted = (rights: readonly ThreadRight[]) => [...rights].sort()

      test('are none until set, and then exactly what was set last', async () => {
        const { id } = await thread()
        expect(await store.permissions.rightsOf('user-2', id)).toEqual([])
        await store.permissions.set(id, 'user-2', ['read', 'write'])
        expect(sorted(await store.permissions.rightsOf('user-2', id))).toEqual(['read', 'write'])
        await store.permissions.set(id, 'user-2', ['delete'])
        expect(await store.permissions.rightsOf('user-2', id)).toEqual(['delete'])
        expect(await store.permissions.rightsOf('user-3', id)).toEqual([])
        expect(await store.permissions.rightsOf('user-2', (await thread()).id)).toEqual([])
      })

      test('list every user that holds any, and not one that holds none', async () => {
        const { id } = await thread()
        await store.permissions.set(id, 'user-2', ['read'])
        await store.permissions.set(id, 'user-3', ['write', 'read'])
        await store.permissions.set(id, 'user-4', ['read'])
        await store.permissions.set(id, 'user-4', [])
        const listed = (await store.permissions.list(id)).map(({ userId, rights }) => [userId, sorted(rights)] as const)
        expect(new Map(listed)).toEqual(
          new Map([
            ['user-2', ['read']],
            ['user-3', ['read', 'write']],
          ]),
        )
        expect(await store.permissions.rightsOf('user-4', id)).toEqual([])
      })
    })

    describe('data sharing', () => {
      test('policies are kept per user and provider, replaced and removed', async () => {
        const userId = `user-${randomUUID()}`
        const policy = {
          userId,
          providerKey: 'openai',
          allowConversationHistory: true,
          allowCrossProviderContext: false,
          allowAttachments: true,
        }
        expect(await store.dataSharing.find(userId, 'openai')).toBeUndefined()
        await store.dataSharing.set({ ...policy, allowAttachments: false })
        await store.dataSharing.set(policy)
        await store.dataSharing.set({ ...policy, providerKey: 'anthropic' })
        await store.dataSharing.set({ ...policy, userId: `user-${randomUUID()}` })
        expect(await store.dataSharing.find(userId, 'openai')).toEqual(policy)
        expect((await store.dataSharing.list(userId)).map(({ providerKey }) => providerKey).sort()).toEqual([
          'anthropic',
          'openai',
        ])
        await store.dataSharing.remove(userId, 'openai')
        await store.dataSharing.remove(userId, 'never set')
        expect(await store.dataSharing.find(userId, 'openai')).toBeUndefined()
        expect((await store.dataSharing.list(userId)).map(({ providerKey }) => providerKey)).toEqual(['anthropic'])
      })
    })

    describe('owners', () => {
      const owner = () => ({ id: `owner-${randomUUID()}`, host: 'host-1', pid: 4711 })
      const ownedFlow = async (ownerId: string) => {
        const running = await runningFlow({}, { ownerId })
        await store.journal.append({
          ...running,
          results: [stepResult(running.flowId, 'draft')],
          updates: [update(1), update(7)],
        })
        return running
      }
      const nobody = () => false

      test('that beat keep their flows', async () => {
        const living = owner()
        await store.owners.heartbeat(living)
        await store.owners.heartbeat(living)
        const { flowId } = await ownedFlow(living.id)
        expect(await store.owners.interruptOrphanedFlows({ staleMs: 60_000, isDead: nobody })).not.toContain(flowId)
        expect(await store.flows.find(flowId)).toMatchObject({ status: 'RUNNING', ownerEpoch: 1 })
      })

      test('that are known to be dead lose their running flows: FAILED, next epoch, an error as the last update', async () => {
        const [dead, living] = [owner(), owner()]
        await store.owners.heartbeat(dead)
        await store.owners.heartbeat(living)
        const [lost, kept] = [await ownedFlow(dead.id), await ownedFlow(living.id)]
        const finished = await ownedFlow(dead.id)
        await store.journal.finish({ ...finished, outcome: outcome() })
        const asked: unknown[] = []
        const ids = await store.owners.interruptOrphanedFlows({
          staleMs: 60_000,
          isDead: (candidate) => {
            asked.push(candidate)
            return candidate.id === dead.id
          },
        })
        expect(ids).toContain(lost.flowId)
        expect(ids).not.toContain(kept.flowId)
        expect(ids).not.toContain(finished.flowId)
        expect(asked).toContainEqual(dead)
        const flow = await store.flows.find(lost.flowId)
        expect(flow).toMatchObject({ status: 'FAILED', ownerEpoch: 2, error: { code: 'FLOW_INTERRUPTED', retryable: true } })
        const updates = await store.updates.read(lost.flowId, 0, 10)
        expect(updates.map(({ seq, type }) => [seq, type])).toEqual([
          [1, 'step_progress'],
          [7, 'step_progress'],
          [8, 'error'],
        ])
        expect(updates.at(-1)?.data ?? flow?.error).toMatchObject({ code: 'FLOW_INTERRUPTED' })
        expect(updates.at(-1)?.timestamp).toBeInstanceOf(Date)
        expect(await store.updates.lastSeq(lost.flowId)).toBe(8)
        expect((await store.flows.find(finished.flowId))?.status).toBe('COMPLETED')
        expect(await refusal(store.journal.append({ ...lost, results: [stepResult(lost.flowId, 'late')] }))).toBe(
          'FLOW_INTERRUPTED',
        )
        expect((await store.flows.stepResults(lost.flowId)).map(({ stepId }) => stepId)).toEqual(['draft'])
        expect(await store.journal.claim(newClaim(lost.flowId))).toEqual({ epoch: 3 })
      })

      test('that have not beaten for too long are dead', async () => {
        const silent = owner()
        await store.owners.heartbeat(silent)
        const { flowId } = await ownedFlow(silent.id)
        await sleep(30)
        expect(await store.owners.interruptOrphanedFlows({ staleMs: 10, isDead: nobody })).toContain(flowId)
      })

      test('that left or never beat leave no flow RUNNING', async () => {
        const gone = owner()
        await store.owners.heartbeat(gone)
        const [left, unknown] = [await ownedFlow(gone.id), await ownedFlow(`owner-${randomUUID()}`)]
        await store.owners.unregister(gone.id)
        await store.owners.unregister(`owner-${randomUUID()}`)
        const ids = await store.owners.interruptOrphanedFlows({ staleMs: 60_000, isDead: nobody })
        expect(ids).toContain(left.flowId)
        expect(ids).toContain(unknown.flowId)
      })

      test('that abdicated are dead at once, and leave no flow RUNNING', async () => {
        const gone = owner()
        await store.owners.heartbeat(gone)
        const { flowId } = await ownedFlow(gone.id)
        await store.owners.expire(gone.id)
        await store.owners.expire(`owner-${randomUUID()}`)
        expect(await store.owners.interruptOrphanedFlows({ staleMs: 60_000, isDead: nobody })).toContain(flowId)
      })

      test('leave flows that may be gone on with to be found, until somebody does', async () => {
        const gone = owner()
        await store.owners.heartbeat(gone)
        const wanted = await runningFlow({}, { ownerId: gone.id, runOptions: { streaming: true } })
        const unwanted = await runningFlow({}, { ownerId: gone.id })
        const found = () => store.flows.findInterrupted('00000000-0000-0000-0000-000000000000', 1_000)
        expect(await found()).not.toContain(wanted.flowId)
        await store.owners.expire(gone.id)
        await store.owners.interruptOrphanedFlows({ staleMs: 60_000, isDead: nobody })
        expect(await found()).toContain(wanted.flowId)
        expect(await found()).not.toContain(unwanted.flowId)
        await store.journal.claim(newClaim(wanted.flowId))
        expect(await found()).not.toContain(wanted.flowId)
      })

      test('are found dead once, though several look at the same time', async () => {
        const dead = owner()
        await store.owners.heartbeat(dead)
        const flows = [await ownedFlow(dead.id), await ownedFlow(dead.id)]
        const isDead = (candidate: { id: string }) => candidate.id === dead.id
        const answers = await Promise.all(
          Array.from({ length: 3 }, () => store.owners.interruptOrphanedFlows({ staleMs: 60_000, isDead })),
        )
        for (const { flowId } of flows) {
          expect(answers.flat().filter((id) => id === flowId)).toHaveLength(1)
          expect((await store.updates.read(flowId, 0, 10)).filter(({ type }) => type === 'error')).toHaveLength(1)
          expect((await store.flows.find(flowId))?.ownerEpoch).toBe(2)
        }
      })

      test('whose flow has no update yet get the error as number 1', async () => {
        const dead = owner()
        await store.owners.heartbeat(dead)
        const { flowId } = await runningFlow({}, { ownerId: dead.id })
        await store.owners.interruptOrphanedFlows({ staleMs: 60_000, isDead: (candidate) => candidate.id === dead.id })
        expect((await store.updates.read(flowId, 0, 10)).map(({ seq, type }) => [seq, type])).toEqual([[1, 'error']])
      })
    })

    describeLists(fixture)
    describeUsage(fixture)
    describeCallers(() => store)

    test('never loses what it acknowledged and never keeps what it refused, however two owners interleave', async () => {
      const operation = fc.record({
        kind: fc.constantFrom('claim', 'takeover', 'append', 'append', 'append', 'append', 'append', 'finish'),
        flow: fc.nat(2),
        owner: fc.nat(1),
        /** Whether the caller waits for everything so far before this. */
        waits: fc.boolean(),
        failed: fc.boolean(),
      })
      const { id: threadId } = await thread()
      const seen = { acknowledged: 0, refused: 0 }
      await fc.assert(
        fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 30 }), async (operations) => {
          const flows = await Promise.all([0, 1, 2].map(() => pendingFlow({ threadId })))
          const epochs = new Map<string, number>()
          for (const [flow, { id }] of flows.entries())
            epochs.set(`${flow}/0`, await claimed(newClaim(id, { ownerId: 'owner-0' })))
          const acknowledged = new Set<string>()
          const refused = new Set<string>()
          let open: Promise<unknown>[] = []
          for (const [index, { kind, flow, owner, waits, failed }] of operations.entries()) {
            if (waits) {
              await Promise.all(open)
              open = []
            }
            const flowId = flows[flow]?.id ?? ''
            const held = `${flow}/${owner}`
            if (kind === 'claim' || kind === 'takeover') {
              const from = kind === 'claim' ? (['PENDING', 'FAILED'] as const) : (['RUNNING'] as const)
              open.push(
                store.journal.claim(newClaim(flowId, { from, ownerId: `owner-${owner}` })).then((answer) => {
                  if ('epoch' in answer) epochs.set(held, answer.epoch)
                }),
              )
              continue
            }
            const epoch = epochs.get(held)
            if (epoch === undefined) continue
            const result = stepResult(flowId, `step${index}`)
            const entry = { flowId, epoch, results: [result], updates: [update(index + 1)] }
            const write =
              kind === 'append'
                ? store.journal.append(entry)
                : store.journal.finish({ ...entry, outcome: outcome({ status: failed ? 'FAILED' : 'COMPLETED' }) })
            open.push(
              write.then(
                () => acknowledged.add(result.id),
                (error: { code?: string }) => {
                  expect(error.code).toBe('FLOW_INTERRUPTED')
                  refused.add(result.id)
                },
              ),
            )
          }
          await Promise.all(open)
          const kept = new Set((await Promise.all(flows.map(({ id }) => resultIds(id)))).flat())
          const seqs = (await Promise.all(flows.map(({ id }) => store.updates.read(id, 0, 100)))).map((read) =>
            read.map(({ seq }) => seq),
          )
          expect(kept).toEqual(acknowledged)
          expect(seqs.flat()).toHaveLength(acknowledged.size)
          for (const list of seqs) expect(list).toEqual([...list].sort((a, b) => a - b))
          for (const id of refused) expect(kept.has(id)).toBe(false)
          seen.acknowledged += acknowledged.size
          seen.refused += refused.size
          const taken = new Set(await Promise.all(flows.map(async ({ id }) => (await store.flows.find(id))?.ownerEpoch ?? 0)))
          expect(Math.max(...taken)).toBe(Math.max(0, ...epochs.values()))
        }),
        { numRuns: 25 },
      )
      expect(seen.acknowledged).toBeGreaterThan(50)
      expect(seen.refused).toBeGreaterThan(0)
    }, 120_000)

    test('keeps everything over close and reopen', async (context) => {
      if (!opened.reopen) return context.skip('nothing survives the process in this store')
      const { flow, flowId, epoch } = await runningFlow({ metadata: { tag: 'x' } })
      await store.threads.addMessage(newMessage(flow.threadId))
      await store.permissions.set(flow.threadId, 'user-2', ['read'])
      const { userId } = newThread()
      await store.dataSharing.set({
        userId,
        providerKey: 'openai',
        allowConversationHistory: true,
        allowCrossProviderContext: true,
        allowAttachments: false,
      })
      const [key, hash, request] = [newApiKey(), newHash(), newRequest()]
      await store.apiKeys.create(key, hash)
      await store.tickets.create({ hash, caller: { userId }, expiresAt: instant(30) })
      await store.idempotency.begin(request)
      const settled = await runningFlow({ threadId: flow.threadId })
      await store.journal.finish({
        ...settled,
        results: [stepResult(settled.flowId, 'draft')],
        updates: [update(1)],
        outcome: outcome(),
      })
      const all = async () => ({
        flows: [await store.flows.find(flowId), await store.flows.find(settled.flowId)],
        results: [await store.flows.stepResults(flowId), await store.flows.stepResults(settled.flowId)],
        updates: [await store.updates.read(flowId, 0, 100), await store.updates.read(settled.flowId, 0, 100)],
        thread: await store.threads.find(flow.threadId),
        messages: await store.threads.messages(flow.threadId),
        rights: await store.permissions.rightsOf('user-2', flow.threadId),
        policies: await store.dataSharing.list(userId),
        key: await store.apiKeys.find(key.id),
        request: await store.idempotency.begin(request),
      })
      const unawaited = store.journal.append({ flowId, epoch, results: [stepResult(flowId, 'draft')], updates: [update(1)] })
      const before = await unawaited.then(all)
      store = await opened.reopen()
      expect(await all()).toEqual(before)
      expect(before.results[0]).toHaveLength(1)
      expect(before.key).toEqual({ key, hash })
      expect(await store.tickets.redeem(hash, instant(0))).toEqual({ userId })
      expect(await store.journal.claim(newClaim(flowId))).toEqual({ status: 'RUNNING' })
    })

    test('writes on close what it had accepted', async (context) => {
      if (!opened.reopen) return context.skip('nothing survives the process in this store')
      const { flowId, epoch } = await runningFlow()
      const accepted = store.journal.append({ flowId, epoch, results: [stepResult(flowId, 'draft')] })
      store = await opened.reopen()
      await accepted
      expect(await resultIds(flowId)).toHaveLength(1)
    })
  })
}
