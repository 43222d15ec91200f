import { describe, expect, test } from 'vitest'
import type { CallIntent } from '../../src/domain/execution/call-intent.ts'
import type { ModelTurn, StartedCall, StepTurn, ToolResult, TurnData } from '../../src/domain/tools/turns.ts'
import { attempt, instant, newClaim, outcome, stepResult } from '../support/stored-data.ts'
import type { StoreFixture } from './store-fixture.ts'

const turn: ModelTurn = {
  kind: 'turn',
  turn: 1,
  provider: 'anthropic',
  requestedModel: 'claude-opus-4-6',
  model: 'claude-opus-4-6-20260101',
  text: 'Let me see 😀 \u2028',
  toolCalls: [{ id: 'toolu_1', name: 'lookUp', arguments: '{"sku":"pen"}' }],
  vendorTurn: { provider: 'anthropic', model: 'claude-opus-4-6', blocks: [{ type: 'thinking', signature: 'c2ln' }, null, 1.5] },
  origins: [{ kind: 'original_prompt' }],
  finishReason: 'tool_calls',
  usage: { inputTokens: 3, source: 'reported' },
  notes: [],
}

const started: StartedCall = {
  kind: 'call',
  turn: 1,
  index: 1,
  attempt: 2,
  provider: 'function',
  operation: 'lookUp',
  arguments: { sku: 'pen', nested: { list: [1, null] } },
  startedAt: instant(5).toISOString(),
  simulated: false,
}

const result: ToolResult = {
  kind: 'result',
  turn: 1,
  index: 1,
  tool: 'function/lookUp',
  content: '{"price":3}',
  isError: false,
  executionTime: 1.5,
  sharing: [],
}

const row = (number: number, data: TurnData, attempts: StepTurn['attempts'] = [], key: Partial<StepTurn> = {}): StepTurn => ({
  path: 'draft',
  iteration: 1,
  sample: 0,
  number,
  data,
  attempts,
  ...key,
})

const intent = (number: number): CallIntent => ({
  path: 'draft',
  iteration: 1,
  sample: 0,
  number,
  idempotencyKey: `draft/${number}`,
  provider: 'openai',
  model: 'gpt-5.4',
  startedAt: instant(1),
  inputTokens: 10,
  outputTokens: 20,
  simulated: false,
})

/** What every store promises of the turns of steps that call tools. */
export function describeTurns({ store, claimed, runningFlow, thread }: StoreFixture): void {
  describe('turns', () => {
    test('rows are read back in their order, and their attempts with the result of their step', async () => {
      const { flowId, epoch } = await runningFlow()
      const running = stepResult(flowId, 'draft', { status: 'RUNNING', output: undefined, attempts: [] })
      const { journal, flows } = store()
      const other = row(1, { ...turn, turn: 1 }, [], { sample: 2 })
      await journal.append({ flowId, epoch, results: [running], turns: [row(1, turn, [attempt(1)]), other] })
      await Promise.all([
        journal.append({ flowId, epoch, turns: [row(2, started)] }),
        journal.append({ flowId, epoch, turns: [row(3, result, [attempt(2, { provider: 'function', model: 'lookUp' })])] }),
      ])
      expect(await flows.turns(flowId)).toEqual([row(1, turn), row(2, started), row(3, result), other])
      const [read] = await flows.stepResults(flowId)
      expect(read).toMatchObject({ status: 'RUNNING', attempts: [{ number: 1 }, { number: 2, provider: 'function' }] })
    })

    test('an attempt of a row removes the intent of its number and no other', async () => {
      const { flowId, epoch } = await runningFlow()
      const { journal, flows } = store()
      const running = stepResult(flowId, 'draft', { status: 'RUNNING', output: undefined, attempts: [] })
      await journal.append({ flowId, epoch, results: [running] })
      await journal.append({ flowId, epoch, intents: [intent(1), intent(2)] })
      await journal.append({ flowId, epoch, turns: [row(1, turn, [attempt(1)])], intents: [intent(3)] })
      expect(await flows.intents(flowId)).toEqual([intent(2), intent(3)])
      await Promise.all([
        journal.append({ flowId, epoch, intents: [intent(4)] }),
        journal.append({ flowId, epoch, turns: [row(2, turn, [attempt(4)])] }),
      ])
      expect(await flows.intents(flowId)).toEqual([intent(2), intent(3)])
    })

    test('the last turn and the result of the step may be written at once, with every attempt once', async () => {
      const { flowId, epoch } = await runningFlow()
      const { journal, flows } = store()
      const done = stepResult(flowId, 'draft', { attempts: [attempt(1), attempt(2), attempt(3)], turns: 2 })
      const running = stepResult(flowId, 'draft', { status: 'RUNNING', output: undefined, attempts: [] })
      await Promise.all([
        journal.append({ flowId, epoch, results: [running], turns: [row(1, turn, [attempt(1)])] }),
        journal.append({ flowId, epoch, turns: [row(2, result, [attempt(2)])] }),
        journal.append({ flowId, epoch, results: [done] }),
      ])
      const [read] = await flows.stepResults(flowId)
      expect(read).toMatchObject({ status: 'SUCCESS', turns: 2 })
      expect(read?.attempts.map(({ number }) => number)).toEqual([1, 2, 3])
    })

    test('the blocks of a vendor are removed with the write that closes the turns of their step, and of no other', async () => {
      const { flowId, epoch } = await runningFlow()
      const { journal, flows } = store()
      const others = [row(1, turn, [], { iteration: 2 }), row(1, turn, [], { path: 'other' })]
      const { vendorTurn: _, ...closed } = turn
      await Promise.all([
        journal.append({ flowId, epoch, turns: [row(1, turn), row(2, result), row(1, turn, [], { sample: 2 }), ...others] }),
        journal.append({ flowId, epoch, closedTurns: [{ path: 'draft', iteration: 1 }], results: [stepResult(flowId, 'draft')] }),
      ])
      expect(await flows.turns(flowId)).toEqual([row(1, closed), row(2, result), row(1, closed, [], { sample: 2 }), ...others])
      await journal.finish({ flowId, epoch, outcome: outcome(), closedTurns: [{ path: 'other', iteration: 1 }] })
      expect((await flows.turns(flowId)).at(-1)).toEqual(row(1, closed, [], { path: 'other' }))
    })

    test('rows of an owner that has lost the flow are refused, and those of a deleted flow are gone', async () => {
      const { id: threadId } = await thread()
      const { flowId, epoch } = await runningFlow({ threadId })
      const { journal, flows, threads } = store()
      await journal.append({ flowId, epoch, turns: [row(1, turn)] })
      await journal.finish({ flowId, epoch, outcome: outcome({ status: 'FAILED' }) })
      const next = await claimed(newClaim(flowId, { from: ['FAILED'] }))
      await expect(journal.append({ flowId, epoch, turns: [row(2, result)] })).rejects.toMatchObject({ code: 'FLOW_INTERRUPTED' })
      expect(await flows.turns(flowId)).toHaveLength(1)
      await journal.finish({ flowId, epoch: next, outcome: outcome({ status: 'FAILED' }) })
      await flows.delete(flowId)
      expect(await flows.turns(flowId)).toEqual([])
      const other = await runningFlow({ threadId })
      await journal.append({ flowId: other.flowId, epoch: other.epoch, turns: [row(1, turn)] })
      await journal.finish({ flowId: other.flowId, epoch: other.epoch, outcome: outcome() })
      await threads.delete(threadId)
      expect(await flows.turns(other.flowId)).toEqual([])
    })
  })
}
