import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { toOutputJsonSchema } from '../../src/domain/answers/output-schema.ts'
import { fromStoredJson, toStoredJson } from '../../src/domain/definition/json.ts'
import { createTestParser, definitionOf } from '../support/definitions.ts'

const { parse } = createTestParser({
  agents: { writer: { model: 'openai/gpt-5.4', system: 'Be brief.', settings: { temperature: 0 } } },
})
const stored = (steps: readonly object[], rest?: object) => toStoredJson(parse(definitionOf(steps, rest)))

describe('storing a definition', () => {
  test('a stored definition that is data is restored unchanged', () => {
    const definition = parse(
      definitionOf(
        [
          { prompt: 'original', fallbacks: [{ model: 'google/gemini-3' }] },
          { inputFrom: 's0', condition: 'iteration == 1' },
        ],
        { limits: { maxSteps: 3 }, input: 'Hi' },
      ),
    )
    const { json, isData } = toStoredJson(definition)
    expect(isData).toBe(true)
    expect(fromStoredJson(json, parse)).toEqual(definition)
  })

  test('the order of keys does not change the stored text', () => {
    const step = { id: 'a', model: 'openai/x', action: 'generate', settings: { temperature: 1, maxTokens: 2 } }
    const other = { settings: { maxTokens: 2, temperature: 1 }, action: 'generate', model: 'openai/x', id: 'a' }
    const first = toStoredJson(parse({ name: 'x', type: 'sequential', steps: [step] }))
    expect(toStoredJson(parse({ steps: [other], type: 'sequential', name: 'x' }))).toEqual(first)
  })

  test('the order of keys of an output schema is kept, because models answer in it', () => {
    const schema = (keys: readonly string[]) => ({
      type: 'object',
      properties: Object.fromEntries(keys.map((key) => [key, { type: 'string' }])),
    })
    expect(stored([{ outputSchema: schema(['reason', 'answer']) }]).json).not.toBe(
      stored([{ outputSchema: schema(['answer', 'reason']) }]).json,
    )
  })

  test.each([
    ['a prompt', [{ prompt: () => 'x' }], {}],
    ['a system prompt', [{ system: () => 'x' }], {}],
    ['a condition', [{ condition: () => true }], {}],
    ['a callback', [{}], { onStepComplete: () => undefined }],
  ])('a function as %s is marked and keeps the definition in its process', (_, steps, rest) => {
    const { json, isData } = stored(steps, rest)
    expect(isData).toBe(false)
    expect(json).toContain('{"$function":true}')
  })

  test('another process can restore the definition without its agents', () => {
    const { json } = stored([{ model: undefined, agent: 'writer' }])
    const elsewhere = createTestParser().parse
    expect(fromStoredJson(json, elsewhere).steps[0]).toMatchObject({
      provider: 'openai',
      model: 'gpt-5.4',
      system: 'Be brief.',
      settings: { temperature: 0 },
    })
  })
})

describe('output schemas', () => {
  const isData = (outputSchema: unknown) => stored([{ outputSchema }]).isData

  test('a zod schema that JSON Schema can express is data and validates alike after a restart', () => {
    const outputSchema = z.object({ score: z.number().min(0).max(1), tags: z.array(z.enum(['a', 'b'])).optional() })
    const { json, isData } = stored([{ outputSchema }])
    const schema = fromStoredJson(json, parse).steps[0]?.outputSchema
    expect(isData).toBe(true)
    if (!(schema instanceof z.ZodType)) throw new Error('expected a zod schema')
    for (const value of [{ score: 0.5 }, { score: 0.5, tags: ['a'] }, { score: 2 }, { score: 0.5, tags: ['c'] }, {}]) {
      expect(schema.safeParse(value).success).toBe(outputSchema.safeParse(value).success)
    }
  })

  test.each([
    ['a refinement', z.string().refine((text) => text.length > 1)],
    ['a transform', z.string().transform(Number)],
    ['a coercion', z.object({ n: z.coerce.number() })],
    ['a preprocessing', z.preprocess((value) => value, z.string())],
    ['a pattern', z.array(z.string().regex(/^a/))],
    ['a trim', z.string().trim()],
    ['a date', z.object({ at: z.date() })],
  ])('an output schema with %s is not data', (_, schema) => {
    expect(isData(schema)).toBe(false)
  })

  test('a JSON Schema is sent to the provider unchanged, and its patterns are not run here', () => {
    const outputSchema = {
      type: 'object',
      properties: { code: { type: 'string', pattern: '^(a+)+$' }, pattern: { type: 'string' } },
      required: ['code'],
    }
    const schema = parse(definitionOf([{ outputSchema }])).steps[0]?.outputSchema
    if (!(schema instanceof z.ZodType)) throw new Error('expected a zod schema')
    expect(toOutputJsonSchema(schema)).toEqual(outputSchema)
    expect(schema.safeParse({ code: `${'a'.repeat(50)}!`, pattern: 'x' }).success).toBe(true)
    expect(schema.safeParse({ code: 'a', pattern: 1 }).success).toBe(false)
  })

  test('the request for a zod schema states that objects accept no other keys', () => {
    expect(toOutputJsonSchema(z.object({ a: z.object({ b: z.string() }) }))).toEqual({
      type: 'object',
      properties: { a: { type: 'object', properties: { b: { type: 'string' } }, required: ['b'], additionalProperties: false } },
      required: ['a'],
      additionalProperties: false,
    })
  })
})
