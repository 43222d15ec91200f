import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { FLOW_SCHEMA_VERSION } from '../../src/domain/execution/flow.ts'
import { instant, newClaim, newMessage, outcome, stepResult, update } from '../support/stored-data.ts'
import type { StoreFixture } from './store-fixture.ts'

/** What every store promises of claims, of fencing by epochs, and of outcomes. */
export function describeJournal({ store, thread, pendingFlow, claimed, runningFlow, resultIds, refusal }: StoreFixture): void {
  describe('claims', () => {
    test('a claim sets RUNNING, the first epoch, owner, start and input', async () => {
      const flow = await pendingFlow({ metadata: { tag: 'given at creation' } })
      const claim = newClaim(flow.id, { metadata: { tag: 'given at start' } })
      expect(await store().journal.claim(claim)).toEqual({ epoch: 1 })
      const { ownerId, startedAt, input, metadata } = claim
      expect(await store().flows.find(flow.id)).toEqual({
        ...flow,
        status: 'RUNNING',
        ownerEpoch: 1,
        ownerId,
        startedAt,
        input,
        metadata,
      })
    })

    test('a claim stores the run options of its execution until the next claim', async () => {
      const runOptions = { streaming: true, saveMessages: true, timeout: { flow: 5 }, limits: { maxCostUsd: 0.5 } }
      const flow = await pendingFlow()
      await store().journal.claim(newClaim(flow.id, { runOptions }))
      expect((await store().flows.find(flow.id))?.runOptions).toEqual(runOptions)
      await store().journal.finish({ flowId: flow.id, epoch: 1, outcome: outcome({ status: 'FAILED' }) })
      expect((await store().flows.find(flow.id))?.runOptions).toEqual(runOptions)
      await store().journal.claim(newClaim(flow.id))
      expect((await store().flows.find(flow.id))?.runOptions).toBeUndefined()
    })

    test('a claim without metadata keeps the metadata of the flow', async () => {
      const { flowId } = await runningFlow({ metadata: { tag: 'given at creation' } })
      expect((await store().flows.find(flowId))?.metadata).toEqual({ tag: 'given at creation' })
    })

    test('a claim without an input keeps the input of the flow', async () => {
      const flow = await pendingFlow({ input: 'given' })
      await store().journal.claim(newClaim(flow.id, { input: undefined }))
      expect((await store().flows.find(flow.id))?.input).toBe('given')
    })

    test('a flow that has had another owner since it was read is neither claimed nor queued', async () => {
      const flow = await pendingFlow()
      const { journal, flows } = store()
      expect(await journal.claim(newClaim(flow.id, { epoch: 0 }))).toEqual({ epoch: 1 })
      await journal.finish({ flowId: flow.id, epoch: 1, updates: [], outcome: outcome({ status: 'FAILED' }) })
      const changed = { status: 'FAILED', hasChanged: true }
      expect(await journal.claim(newClaim(flow.id, { from: ['FAILED'], epoch: 0 }))).toEqual(changed)
      expect(await journal.enqueue(newClaim(flow.id, { from: ['FAILED'], epoch: 0 }))).toEqual(changed)
      expect(await flows.find(flow.id)).toMatchObject({ status: 'FAILED', ownerEpoch: 1 })
      expect(await journal.enqueue(newClaim(flow.id, { from: ['FAILED'], epoch: 1 }))).toEqual({ epoch: 1 })
    })

    test('a claim of a flow in another status resolves with that status and changes nothing', async () => {
      const { flowId, epoch } = await runningFlow()
      const running = await store().flows.find(flowId)
      expect(await store().journal.claim(newClaim(flowId, { input: 'other' }))).toEqual({ status: 'RUNNING' })
      expect(await store().flows.find(flowId)).toEqual(running)
      await store().journal.finish({ flowId, epoch, outcome: outcome() })
      expect(await store().journal.claim(newClaim(flowId))).toEqual({ status: 'COMPLETED' })
      expect((await store().flows.find(flowId))?.status).toBe('COMPLETED')
    })

    test('a flow whose rows are of a newer version is neither claimed nor queued, and still read', async () => {
      const flow = await pendingFlow({ schemaVersion: FLOW_SCHEMA_VERSION + 1 })
      const refused = { status: 'PENDING', newerVersion: FLOW_SCHEMA_VERSION + 1 }
      const claim = newClaim(flow.id)
      expect(await store().journal.claim(claim)).toEqual(refused)
      expect(await store().journal.enqueue(claim)).toEqual(refused)
      expect(await store().flows.find(flow.id)).toMatchObject({
        status: 'PENDING',
        ownerEpoch: 0,
        newerVersion: refused.newerVersion,
      })
      expect(await store().journal.claim(newClaim(flow.id, { from: ['FAILED'] }))).toEqual({ status: 'PENDING' })
    })

    test('a flow whose rows are of an older version is claimed', async () => {
      const flow = await pendingFlow({ schemaVersion: FLOW_SCHEMA_VERSION - 1 })
      expect(await store().journal.claim(newClaim(flow.id))).toEqual({ epoch: 1 })
      expect((await store().flows.find(flow.id))?.newerVersion).toBeUndefined()
    })

    test('a claim of an unknown flow resolves without a status', async () => {
      expect(await store().journal.claim(newClaim(randomUUID()))).toEqual({ status: undefined })
    })

    test('exactly one of many claims at the same time succeeds', async () => {
      const flow = await pendingFlow()
      const claims = Array.from({ length: 20 }, () => newClaim(flow.id))
      const answers = await Promise.all(claims.map((claim) => store().journal.claim(claim)))
      const won = answers.flatMap((answer, index) => ('epoch' in answer ? [index] : []))
      expect(won).toHaveLength(1)
      expect(answers.filter((answer) => 'status' in answer && answer.status === 'RUNNING')).toHaveLength(19)
      expect((await store().flows.find(flow.id))?.ownerId).toBe(claims[won[0] ?? 0]?.ownerId)
    })

    test('claims of several flows at the same time do not affect each other', async () => {
      const flows = await Promise.all(Array.from({ length: 10 }, () => pendingFlow()))
      const answers = await Promise.all(
        flows.flatMap(({ id }) => [store().journal.claim(newClaim(id)), store().journal.claim(newClaim(id))]),
      )
      expect(answers.filter((answer) => 'epoch' in answer)).toHaveLength(10)
      for (const { id } of flows) expect(await store().flows.find(id)).toMatchObject({ status: 'RUNNING', ownerEpoch: 1 })
    })

    test.each(['FAILED', 'CANCELLED', 'PAUSED'] as const)(
      'a claim takes a %s flow under the next epoch and clears its outcome',
      async (status) => {
        const { flowId, epoch } = await runningFlow()
        const error = { code: 'PROVIDER_AUTH', message: 'No key.', retryable: false, details: {} } as const
        await store().journal.finish({ flowId, epoch, outcome: outcome({ status, error }) })
        expect(await store().journal.claim(newClaim(flowId, { input: 'again', startedAt: instant(500) }))).toEqual({ epoch: 2 })
        const flow = await store().flows.find(flowId)
        expect(flow).toMatchObject({ status: 'RUNNING', ownerEpoch: 2, input: 'again', startedAt: instant(500) })
        expect([flow?.error, flow?.completedAt, flow?.result]).toEqual([undefined, undefined, undefined])
      },
    )

    test('a claim takes over a running flow when RUNNING is among its statuses', async () => {
      const { flowId, epoch } = await runningFlow()
      expect(await store().journal.claim(newClaim(flowId, { from: ['RUNNING'] }))).toEqual({ epoch: epoch + 1 })
    })
  })

  describe('the fence', () => {
    test('results and updates under an old epoch are refused and none of them is written', async () => {
      const { flowId, epoch } = await runningFlow()
      await claimed(newClaim(flowId, { from: ['RUNNING'] }))
      const late = { flowId, epoch, results: [stepResult(flowId, 'draft')], updates: [update(1)] }
      await expect(store().journal.append(late)).rejects.toMatchObject({ code: 'FLOW_INTERRUPTED' })
      await expect(store().journal.finish({ ...late, outcome: outcome() })).rejects.toMatchObject({ code: 'FLOW_INTERRUPTED' })
      expect(await resultIds(flowId)).toEqual([])
      expect(await store().updates.lastSeq(flowId)).toBe(0)
      expect((await store().flows.find(flowId))?.status).toBe('RUNNING')
    })

    test('messages under an old epoch are refused, and messages of the current one are written once', async () => {
      const { flow, flowId, epoch } = await runningFlow()
      const message = newMessage(flow.threadId, { role: 'assistant', content: 'said' })
      const entry = { flowId, epoch, results: [stepResult(flowId, 'draft')], messages: [message] }
      const contents = async () => (await store().threads.messages(flow.threadId)).map(({ content }) => content)
      await store().journal.append(entry)
      await store().journal.append(entry)
      expect(await contents()).toEqual(['said'])
      await claimed(newClaim(flowId, { from: ['RUNNING'] }))
      const late = { ...entry, messages: [newMessage(flow.threadId, { role: 'assistant', content: 'too late' })] }
      expect(await refusal(store().journal.append(late))).toBe('FLOW_INTERRUPTED')
      expect(await contents()).toEqual(['said'])
    })

    test('writes to a deleted flow are refused', async () => {
      const { flow, flowId, epoch } = await runningFlow()
      await store().threads.delete(flow.threadId)
      expect(await refusal(store().journal.append({ flowId, epoch, results: [stepResult(flowId, 'draft')] }))).toBe(
        'FLOW_INTERRUPTED',
      )
      expect(await refusal(store().journal.finish({ flowId, epoch, outcome: outcome() }))).toBe('FLOW_INTERRUPTED')
    })

    test('a refused write does not fail writes of other flows at the same time', async () => {
      const flows = await Promise.all(Array.from({ length: 6 }, () => runningFlow()))
      const answers = await Promise.all(
        flows.map(({ flowId, epoch }, index) =>
          refusal(
            store().journal.append({
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
        expect(await store().updates.lastSeq(flowId)).toBe(index % 2 === 0 ? 1 : 0)
      }
    })
  })

  describe('outcomes', () => {
    test('an outcome is written together with the last results and updates', async () => {
      const { flow, flowId, epoch } = await runningFlow({ input: 'A prompt' })
      await store().journal.append({ flowId, epoch, results: [stepResult(flowId, 'draft')], updates: [update(1)] })
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
      await store().journal.finish({
        flowId,
        epoch,
        results: [stepResult(flowId, 'judge')],
        updates: [update(2)],
        outcome: ended,
      })
      const found = await store().flows.find(flowId)
      expect(found).toMatchObject({ ...flow, input: 'Write a haiku', status: 'COMPLETED', ownerEpoch: 1, simulated: true })
      expect([found?.result, found?.completedAt, found?.error]).toEqual([ended.result, ended.completedAt, undefined])
      expect((await store().flows.stepResults(flowId)).map(({ stepId }) => stepId)).toEqual(['draft', 'judge'])
      expect(await store().updates.lastSeq(flowId)).toBe(2)
    })

    test('the outcome of a failed flow keeps the whole error', async () => {
      const { flowId, epoch } = await runningFlow()
      const error = {
        code: 'STEP_FAILED',
        message: 'It broke.',
        retryable: false,
        details: { flowId, stepId: 'draft', list: [1, null] },
      } as const
      await store().journal.finish({
        flowId,
        epoch,
        outcome: { status: 'FAILED', completedAt: instant(5), error, simulated: false },
      })
      expect(await store().flows.find(flowId)).toMatchObject({ status: 'FAILED', error, completedAt: instant(5) })
    })

    test('an outcome is written after all entries that were appended before it without waiting', async () => {
      const { flowId, epoch } = await runningFlow()
      const writes = [1, 2, 3].map((seq) =>
        store().journal.append({ flowId, epoch, results: [stepResult(flowId, `step${seq}`)], updates: [update(seq)] }),
      )
      await Promise.all([...writes, store().journal.finish({ flowId, epoch, updates: [update(4)], outcome: outcome() })])
      expect(await resultIds(flowId)).toHaveLength(3)
      expect((await store().updates.read(flowId, 0, 10)).map(({ seq }) => seq)).toEqual([1, 2, 3, 4])
      expect((await store().flows.find(flowId))?.status).toBe('COMPLETED')
    })
  })

  test('acknowledged writes are kept and refused writes are not, however two owners interleave', async () => {
    const operation = fc.record({
      kind: fc.constantFrom('claim', 'takeover', 'append', 'append', 'append', 'append', 'append', 'finish'),
      flow: fc.nat(2),
      owner: fc.nat(1),
      /** Whether the caller waits for all previous operations first. */
      waits: fc.boolean(),
      failed: fc.boolean(),
    })
    const { id: threadId } = await thread()
    const seen = { acknowledged: 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(fc.array(operation, { minLength: 5, maxLength: 30 }), async (operations) => {
        const flows = await Promise.all([0, 1, 2].map(() => pendingFlow({ threadId })))
        const epochs = new Map<string, number>()
        for (const [flow, { id }] of flows.entries()) epochs.set(`${flow}/0`, await claimed(newClaim(id, { ownerId: 'owner-0' })))
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
              store()
                .journal.claim(newClaim(flowId, { from, ownerId: `owner-${owner}` }))
                .then((answer) => {
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
              ? store().journal.append(entry)
              : store().journal.finish({ ...entry, outcome: outcome({ status: failed ? 'FAILED' : 'COMPLETED' }) })
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
        const seqs = (await Promise.all(flows.map(({ id }) => store().updates.read(id, 0, 100)))).map((read) =>
          read.map(({ seq }) => seq),
        )
        expect(kept).toEqual(acknowledged)
        expect(seqs.flat()).toHaveLength(acknowledged.size)
        for (const list of seqs) expect(list).toEqual([...list].sort((a, b) => a - b))
        for (const id of refused) expect(kept.has(id)).toBe(false)
        seen.acknowledged += acknowledged.size
        seen.refused += refused.size
        const taken = new Set(await Promise.all(flows.map(async ({ id }) => (await store().flows.find(id))?.ownerEpoch ?? 0)))
        expect(Math.max(...taken)).toBe(Math.max(0, ...epochs.values()))
      }),
      { numRuns: 25 },
    )
    expect(seen.acknowledged).toBeGreaterThan(50)
    expect(seen.refused).toBeGreaterThan(0)
  }, 120_000)
}
