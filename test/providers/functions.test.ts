import { afterEach, expect, test } from 'vitest'
import * as z from 'zod'
import type { FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import { defineFunction, type FunctionContext, type RegisteredFunction } from '../../src/domain/tools/functions.ts'
import { OperationError } from '../../src/errors/operation-error.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { rejection } from '../support/caught.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

let polyphony: Polyphony | undefined
afterEach(async () => {
  await polyphony?.close()
  polyphony = undefined
})

const USER = 'ada'

async function open(
  functions: Readonly<Record<string, RegisteredFunction>>,
  replies: readonly string[] = [],
): Promise<Polyphony> {
  polyphony = await openTestPolyphony({
    functions,
    providers: { scripted: createScriptedProvider({ replies }) },
    retry: { baseDelayMs: 0 },
  })
  return polyphony
}

async function create({ conversations, orchestrator }: Polyphony, steps: readonly FlowStepInput[], limits = {}): Promise<string> {
  const { id } = await conversations.createThread(USER, {})
  return (await orchestrator.createFlow(id, USER, { name: 'flow', type: 'sequential', steps, limits })).id
}

const run = async (opened: Polyphony, steps: readonly FlowStepInput[], limits = {}) =>
  opened.orchestrator.executeFlow(await create(opened, steps, limits), USER, { input: 'go', metadata: { tenant: 't1' } })

const runStep = (name: string, given: FlowStepInput['arguments'] = {}, more: Partial<FlowStepInput> = {}): FlowStepInput => ({
  id: name,
  model: `function/${name}`,
  action: 'run',
  arguments: given,
  ...more,
})

const read = z.object({ sku: z.string(), amounts: z.array(z.number()), deep: z.object({ on: z.boolean() }) })
const modelStep: FlowStepInput = { id: 'read', model: 'scripted/m', action: 'extract', prompt: 'read', outputSchema: read }
const READ = '{"sku":"A7","amounts":[1,2],"deep":{"on":true}}'

test('a function gets the values of earlier steps with their types, and its result is text and value', async () => {
  const seen: unknown[] = []
  const opened = await open(
    {
      lookup: defineFunction({
        input: z.object({
          sku: z.string(),
          amounts: z.array(z.number()),
          on: z.boolean(),
          label: z.string(),
          fixed: z.array(z.string()),
        }),
        output: z.object({ total: z.number() }),
        run(input, { signal: _, addFile: __, ...context }: FunctionContext) {
          seen.push(input, context)
          return { total: input.amounts.length }
        },
      }),
    },
    [READ],
  )
  const { finalOutput, steps, totalCost, unpricedSteps } = await run(opened, [
    modelStep,
    runStep('lookup', {
      sku: '{{ steps.read.parsed.sku }}',
      amounts: '{{ steps.read.parsed.amounts }}',
      on: '{{ steps.read.parsed.deep.on }}',
      label: 'article {{ steps.read.parsed.sku }}',
      fixed: ['{{ original }}'],
    }),
  ])
  const flowId = steps[1]?.flowId
  expect(seen).toEqual([
    { sku: 'A7', amounts: [1, 2], on: true, label: 'article A7', fixed: ['go'] },
    { userId: USER, flowId, stepId: 'lookup', idempotencyKey: `${flowId}/lookup#1`, metadata: { tenant: 't1' } },
  ])
  expect(finalOutput).toBe('{"total":2}')
  expect(steps[1]).toMatchObject({
    parsed: { total: 2 },
    provider: 'function',
    cost: 0,
    costSource: 'free',
    sharing: [{ piece: 'read', to: 'function', allowed: true, rule: 'in_process' }],
  })
  expect({ totalCost, unpricedSteps }).toEqual({ totalCost: 0, unpricedSteps: 1 })
})

test('arguments that do not fit are refused before the function is called, with path, expectation and finding', async () => {
  let calls = 0
  const opened = await open({ strict: { input: z.object({ sku: z.string().regex(/^A/) }), run: () => ++calls } })
  const error = await rejection(run(opened, [runStep('strict', { sku: 7 })]))
  expect(error).toMatchObject({ code: 'INPUT_INVALID', details: { problems: ['arguments.sku: expected string, found 7'] } })
  const json = await rejection(run(opened, [runStep('strict', { sku: 'B' })]))
  expect(json).toMatchObject({ code: 'INPUT_INVALID' })
  expect(calls).toBe(0)
  const check = await opened.orchestrator.checkFlow(
    { name: 'x', type: 'sequential', steps: [runStep('strict', { sku: 7 })] },
    USER,
  )
  expect(check).toMatchObject({ ok: false, problems: [{ code: 'INPUT_INVALID', path: 'steps[0].arguments' }] })
})

test('patterns of a JSON Schema that the operator wrote are checked', async () => {
  const input = {
    type: 'object',
    properties: { sku: { type: 'string', pattern: '^A' } },
    required: ['sku'],
    additionalProperties: false,
  }
  const opened = await open({ strict: { input, run: ({ sku }) => sku } })
  expect((await run(opened, [runStep('strict', { sku: 'A1' })])).finalOutput).toBe('A1')
  expect(await rejection(run(opened, [runStep('strict', { sku: 'B1' })]))).toMatchObject({ code: 'INPUT_INVALID' })
  expect(await rejection(run(opened, [runStep('strict', { sku: 'A1', more: 1 })]))).toMatchObject({ code: 'INPUT_INVALID' })
})

test('a result that does not fit its schema, is no JSON or is missing is told apart', async () => {
  const opened = await open({
    wrong: { output: z.object({ total: z.number() }), run: () => ({ total: 'many' }) },
    big: { run: () => ({ value: 1n }) },
    nothing: { run: () => undefined },
    blank: { run: () => '' },
    text: { run: () => 'plain' },
  })
  expect(await rejection(run(opened, [runStep('wrong')]))).toMatchObject({
    code: 'OUTPUT_INVALID',
    details: { problems: ['result.total: expected number, found "many"'] },
  })
  expect(await rejection(run(opened, [runStep('big')]))).toMatchObject({ code: 'OUTPUT_INVALID' })
  expect((await run(opened, [runStep('nothing')])).steps[0]).toMatchObject({ status: 'SUCCESS', output: '', parsed: null })
  expect((await run(opened, [runStep('blank')])).steps[0]).toMatchObject({ status: 'SUCCESS', output: '' })
  expect((await run(opened, [runStep('text')])).steps[0]).toMatchObject({ output: 'plain', parsed: 'plain' })
})

test('a function that fails is tried once, an idempotent one as often as a model', async () => {
  const calls = { once: 0, often: 0, shown: 0, final: 0 }
  const fail = (name: keyof typeof calls, error: Error) => () => {
    calls[name]++
    throw error
  }
  const opened = await open({
    once: { run: fail('once', new TypeError('the password is 123')) },
    often: { idempotent: true, run: fail('often', new TypeError('the password is 123')) },
    shown: { run: fail('shown', new OperationError('no article has this number')) },
    final: { idempotent: true, run: fail('final', new OperationError('closed', { retryable: false })) },
  })
  const once = await rejection(run(opened, [runStep('once', {}, { maxRetries: 5 })]))
  expect(once).toMatchObject({ code: 'STEP_FAILED', message: 'Function "once" threw: TypeError' })
  await rejection(run(opened, [runStep('often')]))
  const shown = await rejection(run(opened, [runStep('shown')]))
  expect(shown).toMatchObject({ code: 'STEP_FAILED', message: 'Function "shown" failed: no article has this number' })
  await rejection(run(opened, [runStep('final')]))
  expect(calls).toEqual({ once: 1, often: 3, shown: 1, final: 1 })
})

test('cancelling ends a step within 100 ms although its function ignores the signal, and its attempt stays free', async () => {
  let begun = () => {}
  const running = new Promise<void>((resolve) => {
    begun = resolve
  })
  const opened = await open({
    deaf: {
      run: () => {
        begun()
        return new Promise(() => {})
      },
    },
  })
  const flowId = await create(opened, [runStep('deaf')])
  const ended = rejection(opened.orchestrator.executeFlow(flowId, USER, { input: 'go' }))
  await running
  const cancelledAt = performance.now()
  await opened.orchestrator.cancelFlow(flowId, USER)
  expect(await ended).toMatchObject({ code: 'FLOW_CANCELLED' })
  expect(performance.now() - cancelledAt).toBeLessThan(1_000)
  const { stepResults } = await opened.orchestrator.getFlow(flowId, USER)
  expect(stepResults[0]).toMatchObject({ status: 'CANCELLED', attempts: [{ aborted: true, cost: 0, costSource: 'free' }] })
})

test('a price per call counts in the ledger and in limits', async () => {
  let calls = 0
  const opened = await open({ paid: { price: 0.4, run: () => ++calls } })
  const flow = [runStep('paid', {}, { id: 'a' }), runStep('paid', {}, { id: 'b' }), runStep('paid', {}, { id: 'c' })]
  const error = await rejection(run(opened, flow, { maxCostUsd: 1 }))
  expect(error).toMatchObject({ code: 'LIMIT_EXCEEDED' })
  expect(calls).toBe(2)
  const { totalCost, totalTokens, unpricedSteps } = await run(opened, flow, { maxCostUsd: 2, maxTokens: 1 })
  expect({ totalCost, totalTokens, unpricedSteps }).toEqual({ totalCost: 1.2, totalTokens: 0, unpricedSteps: 0 })
})

test('functions stand in run steps only, and run steps name no prompt', async () => {
  const opened = await open({ known: { run: () => 1 } })
  const invalid = async (step: FlowStepInput) => {
    const { problems } = await opened.orchestrator.checkFlow({ name: 'x', type: 'sequential', steps: [step] }, USER)
    return problems.map(({ path }) => path)
  }
  expect(await invalid({ id: 'a', model: 'function/known', action: 'generate', prompt: 'x' })).toEqual(['steps[0].model'])
  const fallbacks = [{ model: 'function/known' }]
  expect(await invalid({ id: 'a', model: 'scripted/m', action: 'generate', prompt: 'x', fallbacks })).toEqual([
    'steps[0].fallbacks[0]',
  ])
  expect(await invalid(runStep('known', {}, { prompt: 'x', samples: 2 }))).toEqual(['steps[0].prompt', 'steps[0].samples'])
  expect(await invalid(runStep('knwon'))).toEqual(['steps[0].model'])
  expect(await invalid({ id: 'a', model: 'scripted/m', action: 'run' })).toEqual(['steps[0].model'])
  expect(await invalid(runStep('known', { a: '{{ steps.nope.output }}' }))).toEqual(['steps[0].arguments.a'])
})

test('steps whose outputs arguments read run before, also in a graph', async () => {
  const order: string[] = []
  const opened = await open({
    note: {
      run({ name }) {
        order.push(name)
        return { name }
      },
    },
  })
  const { id } = await opened.conversations.createThread(USER, {})
  const flow = await opened.orchestrator.createFlow(id, USER, {
    name: 'graph',
    type: 'graph',
    steps: [
      runStep('note', { name: 'first' }, { id: 'a' }),
      runStep('note', { name: 'second', after: '{{ steps.a.parsed.name }}' }, { id: 'b' }),
      runStep('note', { name: 'third', after: ['{{ steps.b.output }}'] }, { id: 'c' }),
    ],
  })
  await opened.orchestrator.executeFlow(flow.id, USER, { input: 'x' })
  expect(order).toEqual(['first', 'second', 'third'])
})

test('ids that Polyphony reserves, and functions without code, are refused with their key', async () => {
  const provider = createScriptedProvider({ id: 'function', replies: [] })
  expect(await rejection(openTestPolyphony({ providers: { function: provider } }))).toMatchObject({
    code: 'CONFIG_INVALID',
    details: { key: 'providers.function' },
  })
  const functions = JSON.parse('{"empty": {"description": "nothing to run"}}')
  expect(await rejection(openTestPolyphony({ functions }))).toMatchObject({ code: 'CONFIG_INVALID' })
  const input = { type: 'object', unevaluatedProperties: false }
  expect(await rejection(openTestPolyphony({ functions: { odd: { input, run: () => 1 } } }))).toMatchObject({
    code: 'CONFIG_INVALID',
    details: { function: 'odd', field: 'input' },
  })
})
