import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import type { FlowDefinitionInput } from '../../src/client/client.ts'
import { toJson } from '../../src/client/http/json-body.ts'
import { rejection } from '../support/caught.ts'
import { answers, createQuickClient, createScriptedServer } from './scripted-server.ts'

const step = { id: 'a', model: 'openai/m', action: 'generate', prompt: 'x' } as const
const circle: Record<string, unknown> = {}
circle.self = { circle }
const deep = () => Array.from({ length: 10_000 }).reduce<unknown>((inner) => [inner], 1)

describe('a definition that JSON cannot express', () => {
  const refused: readonly [string, FlowDefinitionInput, string, string][] = [
    [
      'a prompt that is a function',
      { name: 'n', type: 'sequential', steps: [step, { ...step, prompt: () => 'x' }] },
      '#/definition/steps/1/prompt',
      'definition.steps[1].prompt is a function',
    ],
    [
      'a condition that is a function',
      { name: 'n', type: 'sequential', steps: [{ ...step, condition: () => true }] },
      '#/definition/steps/0/condition',
      'condition is a function',
    ],
    [
      'a callback',
      { name: 'n', type: 'sequential', steps: [step], onStepComplete: () => {} },
      '#/definition/onStepComplete',
      'definition.onStepComplete is a function',
    ],
    [
      'a zod schema',
      { name: 'n', type: 'sequential', steps: [{ ...step, outputSchema: z.object({}) }] },
      '#/definition/steps/0/outputSchema',
      'z.toJSONSchema',
    ],
  ]

  test.each(refused)('is refused without a request: %s', async (_, definition, pointer, words) => {
    const server = await createScriptedServer()
    server.play(answers.json(200, {}))
    const { client } = createQuickClient(server)
    for (const call of [() => client.flows.create({ threadId: 't', definition }), () => client.flows.check({ definition })]) {
      expect(await rejection(call())).toMatchObject({
        code: 'INPUT_INVALID',
        status: undefined,
        pointer,
        detail: expect.stringContaining(words),
      })
    }
    expect(server.requests).toEqual([])
    await server.close()
  })
})

test.each<[string, unknown, string]>([
  ['a bigint', { a: 1n }, '#/a'],
  ['a symbol', { 'a/b~': Symbol('x') }, '#/a~1b~0'],
  ['NaN', [{ timeout: Number.NaN }], '#/0/timeout'],
  ['an endless number', { a: Number.POSITIVE_INFINITY }, '#/a'],
  ['itself', circle, '#/self/circle'],
])('a body with %s is refused with a pointer', (_, body, pointer) => {
  expect(() => toJson(body)).toThrow(expect.objectContaining({ code: 'INPUT_INVALID', pointer }))
})

test('a body that is nested too deeply is refused without a stack overflow', () => {
  expect(() => toJson(deep())).toThrow(expect.objectContaining({ code: 'INPUT_INVALID' }))
})

test('a body that JSON can express is sent unchanged, also with the same object twice', () => {
  const twice = { at: new Date(0), none: undefined, nothing: null }
  expect(toJson({ a: twice, b: [twice, 'ü\u2028', 1e-7] })).toBe(JSON.stringify({ a: twice, b: [twice, 'ü\u2028', 1e-7] }))
})
