import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { readStructured, withoutThinking } from '../../src/domain/answers/structured-output.ts'

const person = z.strictObject({ name: z.string(), age: z.number() })

describe('ways to a value, from strict to lenient', () => {
  test.each([
    ['json', '{"name": "Ada", "age": 36}'],
    ['json', '  {"name": "Ada", "age": 36}\n'],
    ['json', '<think>{"name": "Bob", "age": 1}</think>{"name": "Ada", "age": 36}'],
    ['fenced', 'Sure:\n```json\n{"name": "Ada", "age": 36}\n```'],
    ['fenced', '```\nnot this\n```\n```json\n{"name": "Ada", "age": 36}\n```'],
    ['balanced', 'The person is {"name": "Ada", "age": 36}, I think.'],
    ['balanced', 'First {"a": 1}, then {"name": "Ada", "age": 36}'],
    ['balanced', 'A {brace, then {"name": "Ada", "age": 36}'],
    ['repaired', "{name: 'Ada', age: 36,}"],
    ['repaired', '```json\n{"name": "Ada", "age": 36,}\n```'],
    ['repaired', 'It is {"name": "Ada", /* born 1815 */ "age": 36,}'],
  ])('a value is found in an answer: %s: %s', (how, answer) => {
    expect(readStructured(answer, person)).toEqual({ value: { name: 'Ada', age: 36 }, how })
  })

  test('a brace inside a string ends nothing', () => {
    const value = { name: 'a } b { c \\" d', age: 1 }
    expect(readStructured(`x ${JSON.stringify(value)} y`, person)).toEqual({ value, how: 'balanced' })
  })

  test('a value of more levels than a database can store is none', () => {
    const nested = (levels: number) => `${'['.repeat(levels)}"]]"${']'.repeat(levels)}`
    expect(readStructured(nested(1_500), z.unknown())).toMatchObject({ how: 'json' })
    expect(readStructured(nested(1_501), z.unknown())).toEqual({ problem: 'the JSON of the answer has more than 1500 levels' })
  })

  test('an answer may be a list', () => {
    expect(readStructured('Here: [1, 2, 3].', z.array(z.number()))).toEqual({ value: [1, 2, 3], how: 'balanced' })
  })

  test('a schema may change the value', () => {
    expect(readStructured('{"n": "3"}', z.object({ n: z.coerce.number() }))).toEqual({ value: { n: 3 }, how: 'json' })
  })
})

describe('no value', () => {
  test.each([
    ['', 'empty'],
    ['No idea.', 'no JSON'],
    ['{"name": "Ada"}', 'age'],
    ['{"name": "Ada", "age": "old"}', 'age'],
    ['{"name": "Ada", "age": 36, "more": 1}', 'more'],
    ['<think>{"name": "Ada", "age": 36}', 'no JSON'],
    ['null', 'the value'],
  ])('%s', (answer, problem) => {
    expect(readStructured(answer, person)).toEqual({ problem: expect.stringContaining(problem) })
  })

  test('a number that was cut off is not read as a smaller one', () => {
    expect(readStructured('{"name": "Ada", "age": 3', person)).toHaveProperty('problem')
  })

  test('a schema that throws accepts nothing', () => {
    const broken = z.any().refine(() => {
      throw new Error('broken')
    })
    expect(readStructured('{}', broken)).toHaveProperty('problem')
  })
})

test('any value comes back through prose and fences', () => {
  const prose = fc.constantFrom('', 'Sure! ', 'Here it is:\n', '...')
  fc.assert(
    fc.property(
      prose,
      fc.record({ name: fc.string(), age: fc.integer() }),
      prose,
      fc.boolean(),
      (before, value, after, fenced) => {
        const json = JSON.stringify(value)
        const body = fenced && !json.includes('```') ? `\`\`\`json\n${json}\n\`\`\`` : json
        if (json.includes('think>')) return
        expect(readStructured(before + body + after, person)).toMatchObject({ value })
      },
    ),
    { numRuns: 2_000 },
  )
})

test('whatever the answer, no value is accepted that the schema rejects', () => {
  const piece = fc.oneof(
    fc.string(),
    fc.constantFrom('{', '}', '[', ']', '"name": ', '"Ada"', ', ', '"age": 1', '```', '\n', "'", '\\', '<think>', '//'),
  )
  fc.assert(
    fc.property(fc.array(piece, { maxLength: 15 }), (pieces) => {
      const reading = readStructured(pieces.join(''), person)
      if ('value' in reading) expect(person.safeParse(reading.value).success).toBe(true)
      else expect(reading.problem).not.toBe('')
    }),
    { numRuns: 5_000 },
  )
})

test.each([
  ['<think>a</think>b', 'b'],
  ['a</think>b', 'b'],
  ['<thinking>a</thinking>b', 'b'],
  ['<think>a</think>b<think>c</think>d', 'd'],
  ['b<think>never ends', 'b'],
  ['plain', 'plain'],
])('thinking in %s leaves %s', (text, rest) => {
  expect(withoutThinking(text)).toBe(rest)
})

describe('a value whose end is missing is no value', () => {
  const list = z.object({ name: z.string(), items: z.array(z.string()) })
  const loose = z.looseObject({ a: z.number().optional() })

  test.each([
    ['a string', '{"name":"Ana","items":["lettuce","tom'],
    ['a list after an item', '{"name":"Ana","items":["lettuce"'],
    ['a list after a comma', '{"name":"Ana","items":["lettuce",'],
    ['a key without a value', '{"name":"Ana","items":'],
    ['a key', '{"items":["lettuce"],"na'],
    ['an object after its last value', '{"items":["lettuce"],"name":"Ana"'],
    ['a fenced block without its end', '```json\n{"name":"Ana","items":["lettuce","tom'],
    ['a fenced block with its end', '```json\n{"name":"Ana","items":["lettuce","tom\n```'],
    ['a fenced block that lacks one bracket', '```json\n{"name":"Ana","items":["lettuce"]\n```'],
    ['after thinking', '<think>I list them</think>{"name":"Ana","items":["lettuce","tom'],
    ['written loosely', "{name: 'Ana', items: ['lettuce', 'tom"],
    ['a list that is only hinted at', '{"name":"Ana","items":["lettuce", ...]}'],
    ['a value that is missing between brackets', '{"name":"Ana","items":["lettuce"],"more":}'],
  ])('%s', (_, answer) => {
    expect(readStructured(answer, list)).toHaveProperty('problem')
    expect(readStructured(answer, list, { cut: true })).toHaveProperty('problem')
  })

  test.each(['{"items":[{"a":1},{"a":2', '[{"a":1},{"a":2', 'Here: {"rows": [{"a": 1}, {"a"', "{rows: [{a: 1}, {a: '"])(
    'the whole values inside %s are parts of what was cut',
    (answer) => {
      expect(readStructured(answer, loose)).toEqual({ problem: 'the JSON of the answer is incomplete' })
    },
  )

  test('a number that was cut is no value, because digits may be missing', () => {
    expect(readStructured('12', z.number())).toEqual({ value: 12, how: 'json' })
    expect(readStructured('12', z.number(), { cut: true })).toHaveProperty('problem')
    expect(readStructured('"12"', z.string(), { cut: true })).toEqual({ value: '12', how: 'json' })
    expect(readStructured('true', z.boolean(), { cut: true })).toEqual({ value: true, how: 'json' })
  })

  test('a complete value counts although the text after it was cut', () => {
    expect(readStructured('{"a": 1}\nThis is because', loose, { cut: true })).toEqual({ value: { a: 1 }, how: 'balanced' })
  })

  test('a whole value before one that was cut does not count, because either may be the answer', () => {
    expect(readStructured('["a"]\nBetter:\n["a", "b"', z.array(z.string()), { cut: true })).toHaveProperty('problem')
    expect(readStructured('{"a": 1} and {"a": 2', loose, { cut: true })).toHaveProperty('problem')
  })
})

test('JSON that is cut anywhere gives no value but the whole one', () => {
  const container = fc.oneof(
    fc.dictionary(fc.string(), fc.jsonValue({ maxDepth: 2 }), { minKeys: 1 }),
    fc.array(fc.jsonValue({ maxDepth: 2 }), { minLength: 1 }),
  )
  const wrap = fc.constantFrom<[string, string]>(['', ''], ['```json\n', '\n```'], ['Here it is: ', '.'])
  fc.assert(
    fc.property(container, wrap, fc.boolean(), fc.nat(), (value, [before, after], pretty, seed) => {
      const json = JSON.stringify(value, null, pretty ? 2 : undefined)
      if (json.includes('```') || json.includes('think') || json.includes('reasoning')) return
      const cutAt = seed % json.length
      expect(readStructured(before + json.slice(0, cutAt), z.unknown(), { cut: true })).toHaveProperty('problem')
      expect(readStructured(before + json.slice(0, cutAt) + after, z.unknown())).toHaveProperty('problem')
    }),
    { numRuns: 1_500 },
  )
})
