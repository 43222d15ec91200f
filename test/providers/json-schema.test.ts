import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { toStructuredSchema } from '../../src/providers/vendor/json-schema.ts'

describe('schemas for strict mode', () => {
  test('close every object and require every property, also in lists and unions', () => {
    const schema = z.toJSONSchema(
      z.object({
        items: z.array(z.object({ name: z.string().min(1), kind: z.enum(['a', 'b']) })),
        choice: z.union([z.object({ left: z.number() }), z.null()]),
      }),
    )
    const strict = toStructuredSchema(schema)
    expect(strict).toMatchObject({
      strict: true,
      schema: {
        type: 'object',
        required: ['items', 'choice'],
        additionalProperties: false,
        properties: { items: { items: { required: ['name', 'kind'], additionalProperties: false } } },
      },
    })
    expect(JSON.stringify(strict)).not.toMatch(/minLength|\$schema/)
  })

  test.each([
    ['an optional property', z.object({ a: z.string().optional() })],
    ['a record', z.object({ a: z.record(z.string(), z.number()) })],
    ['an open object', z.looseObject({ a: z.string() })],
    ['a tuple', z.object({ a: z.tuple([z.string(), z.number()]) })],
  ])('%s is returned unchanged, as not strict', (_, type) => {
    const schema = z.toJSONSchema(type)
    expect(toStructuredSchema(schema)).toEqual({ schema, strict: false })
  })

  test('a schema with allOf is returned unchanged, as not strict', () => {
    const schema = { type: 'object', allOf: [{ properties: { a: { type: 'string' } } }] }
    expect(toStructuredSchema(schema)).toEqual({ schema, strict: false })
  })

  test('a schema of another type than object has no structured form', () => {
    expect(toStructuredSchema(z.toJSONSchema(z.array(z.string())))).toBeUndefined()
  })

  test('a property may have the name of a keyword', () => {
    const schema = {
      type: 'object',
      properties: { default: { type: 'string' }, format: { type: 'string' } },
      required: ['default', 'format'],
    }
    expect(toStructuredSchema(schema)).toMatchObject({ strict: true, schema: { required: ['default', 'format'] } })
  })

  test('references are kept with their targets', () => {
    const schema = {
      type: 'object',
      properties: { node: { $ref: '#/$defs/node' } },
      required: ['node'],
      $defs: { node: { type: 'object', properties: { id: { type: 'string', maxLength: 3 } }, required: ['id'] } },
    }
    expect(toStructuredSchema(schema)).toMatchObject({
      strict: true,
      schema: { $defs: { node: { additionalProperties: false } } },
    })
  })

  test('the given schema is not changed', () => {
    const schema = Object.freeze({
      type: 'object',
      properties: Object.freeze({ a: Object.freeze({ type: 'string', minLength: 2 }) }),
      required: ['a'],
    })
    expect(toStructuredSchema(schema)?.schema).not.toBe(schema)
  })
})
