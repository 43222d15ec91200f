import { describe, expect, test } from 'vitest'
import * as z from 'zod'
import type { FlowStepInput } from '../../../src/domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../../src/errors/orchestrator-error.ts'
import { createScriptedProvider } from '../../../src/providers/scripted.ts'
import { scripted } from '../../support/scripted-flow.ts'
import { calling, createToolProvider, lookUp, toolAnswers } from '../../support/tool-world.ts'

const flowOf = (step: Partial<FlowStepInput> = {}) => ({
  name: 'tools',
  type: 'sequential' as const,
  steps: [{ id: 'answer', model: 'scripted/m', action: 'generate' as const, tools: ['function/lookUp'], ...step }],
})

describe('a step with tools', () => {
  test('its model calls a tool, gets the result and answers', async () => {
    const functions = createToolProvider('function', { lookUp: lookUp() })
    const replies = [{ ...calling(['lookUp', { sku: 'pen' }]), text: 'Let me see. ' }, 'It costs 3.']
    const { run, provider, updates, polyphony } = await scripted(replies, { function: functions })
    const { finalOutput, steps } = await run(flowOf())
    expect(finalOutput).toBe('It costs 3.')
    expect(functions.received).toMatchObject([
      { operation: 'lookUp', given: { sku: 'pen' }, origin: { userId: 'user-1', stepId: 'answer' } },
    ])
    expect(provider.requests[0]).toMatchObject({ tools: [{ name: 'lookUp', description: 'Price of an article' }] })
    expect(provider.requests[1]?.messages.slice(1)).toEqual([
      {
        role: 'assistant',
        content: 'Let me see. ',
        toolCalls: [{ id: 'lookUp-0', name: 'lookUp', arguments: '{"sku":"pen"}' }],
      },
      { role: 'tool', toolCallId: 'lookUp-0', toolName: 'lookUp', content: '{"price":3}' },
    ])
    expect(steps[0]).toMatchObject({
      status: 'SUCCESS',
      turns: 2,
      toolCalls: [{ turn: 1, tool: 'function/lookUp', arguments: { sku: 'pen' }, output: '{"price":3}', isError: false }],
    })
    expect(steps[0]?.attempts.map(({ number, provider: by, model }) => [number, by, model])).toEqual([
      [1, 'scripted', 'm'],
      [2, 'function', 'lookUp'],
      [3, 'scripted', 'm'],
    ])
    expect(updates.map(({ type }) => type)).toEqual([
      'flow_start',
      'step_start',
      'step_progress',
      'tool_call',
      'tool_result',
      'step_progress',
      'step_complete',
      'flow_complete',
    ])
    await polyphony.close()
  })

  test('calls of one turn run together, and their results are sent in the order of the calls', async () => {
    let running = 0
    let go = () => {}
    const both = new Promise<void>((resolve) => {
      go = resolve
    })
    const meet = {
      input: z.strictObject({ name: z.string() }),
      async run({ name }: Readonly<Record<string, unknown>>) {
        if (++running === 2) go()
        await both
        return `met ${String(name)}`
      },
    }
    const functions = createToolProvider('function', { meet })
    const replies = [calling(['meet', { name: 'a' }], ['meet', { name: 'b' }]), 'done']
    const { run, provider, polyphony } = await scripted(replies, { function: functions })
    await run(flowOf({ tools: ['function/*'] }))
    expect(provider.requests[1] && toolAnswers(provider.requests[1])).toEqual(['met a', 'met b'])
    await polyphony.close()
  })

  test('a tool that fails gives an error result without a stack, and the model goes on', async () => {
    const fail = {
      input: z.strictObject({}),
      run() {
        throw new OrchestratorError('PROVIDER_REJECTED', 'no such order')
      },
    }
    const functions = createToolProvider('function', { fail })
    const { run, provider, polyphony } = await scripted([calling(['fail', {}]), 'sorry'], { function: functions })
    const { finalOutput, steps } = await run(flowOf({ tools: ['function/fail'] }))
    expect(finalOutput).toBe('sorry')
    expect(functions.received).toHaveLength(1)
    expect(provider.requests[1]?.messages.at(-1)).toEqual({
      role: 'tool',
      toolCallId: 'fail-0',
      toolName: 'fail',
      content: '{"error":{"code":"PROVIDER_REJECTED","message":"no such order"}}',
      isError: true,
    })
    expect(steps[0]?.toolCalls).toMatchObject([{ isError: true }])
    await polyphony.close()
  })

  test('unknown tools and arguments that do not fit are answered with the schema twice, then the step fails', async () => {
    const functions = createToolProvider('function', { lookUp: lookUp() })
    const replies = [calling(['delete', {}]), calling(['lookUp', { sku: 5 }]), calling(['lookUp', 'not json'])]
    const { run, provider, polyphony } = await scripted(replies, { function: functions })
    await expect(run(flowOf())).rejects.toMatchObject({ code: 'TOOL_CALL_INVALID', details: { corrections: 2 } })
    expect(functions.received).toEqual([])
    const [unknown, unfit] = provider.requests.slice(1).flatMap(toolAnswers)
    expect(unknown).toContain('There is no tool \\"delete\\"')
    expect(unknown).toContain('"name":"lookUp"')
    expect(unfit).toContain('sku: Invalid input')
    expect(unfit).toContain('"schema":')
    await polyphony.close()
  })

  test('the last turn must answer, and a model that still calls a tool then fails the step', async () => {
    const functions = createToolProvider('function', { lookUp: lookUp() })
    const { run, provider, polyphony } = await scripted(() => calling(['lookUp', { sku: 'pen' }]), { function: functions })
    await expect(run(flowOf({ maxTurns: 3, toolChoice: 'required' }))).rejects.toMatchObject({
      code: 'LIMIT_EXCEEDED',
      details: { limit: 'maxTurns', max: 3 },
    })
    expect(provider.requests.map(({ toolChoice }) => toolChoice)).toEqual(['required', undefined, 'none'])
    expect(functions.received).toHaveLength(2)
    await polyphony.close()
  })

  test('a result over maxResultTokens is cut with a note', async () => {
    const long = { input: z.strictObject({}), run: () => 'word '.repeat(5_000) }
    const functions = createToolProvider('function', { long })
    const { run, provider, updates, polyphony } = await scripted([calling(['long', {}]), 'ok'], { function: functions })
    await run(flowOf({ tools: ['function/long'], maxResultTokens: 100 }))
    const [answer = ''] = provider.requests[1] ? toolAnswers(provider.requests[1]) : []
    expect(answer).toMatch(/^word .*\[cut: the first \d+ of 25000 characters, because of maxResultTokens 100\]$/s)
    expect(answer.length).toBeLessThan(600)
    expect(updates.find(({ type }) => type === 'tool_result')?.data).toMatchObject({ cut: expect.stringContaining('cut: ') })
    await polyphony.close()
  })

  test('an output schema is read from the last answer, and its repair continues the conversation without calls', async () => {
    const functions = createToolProvider('function', { lookUp: lookUp() })
    const replies = [calling(['lookUp', { sku: 'pen' }]), 'three', '{"price":3}']
    const { run, provider, polyphony } = await scripted(replies, { function: functions })
    const { steps } = await run(flowOf({ outputSchema: z.strictObject({ price: z.number() }) }))
    expect(steps[0]).toMatchObject({ parsed: { price: 3 }, turns: 2 })
    expect(provider.requests[2]).toMatchObject({ toolChoice: 'none' })
    expect(provider.requests[2]?.messages.map(({ role }) => role)).toEqual(['user', 'assistant', 'tool', 'assistant', 'user'])
    await polyphony.close()
  })
})

test('what a model wrote before it paused neither reaches another one that takes over nor is a part of its answer', async () => {
  const paused = { text: 'First half, ', finishReason: 'other' as const, isPaused: true as const }
  const failed = new OrchestratorError('PROVIDER_REJECTED', 'no')
  const other = createScriptedProvider({ id: 'other', replies: ['The whole answer.'] })
  const { run, polyphony } = await scripted([paused, failed], { other })
  const { finalOutput, steps } = await run(flowOf({ tools: ['hosted/web_search'], fallbacks: [{ model: 'other/m' }] }))
  expect(other.requests[0]?.messages.map(({ content }) => content).join()).not.toContain('First half')
  expect(finalOutput).toBe('The whole answer.')
  expect(steps[0]?.origins).not.toContainEqual({ kind: 'step_output', from: 'scripted' })
  await polyphony.close()
})
