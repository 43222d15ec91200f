import { describe, expect, test } from 'vitest'
import { parseDefinitionText } from '../../src/domain/definition/file.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { caught } from '../support/caught.ts'
import { createTestParser } from '../support/definitions.ts'

const { parse } = createTestParser()

const YAML = `# A flow of two steps
name: Review
type: sequential
steps:
  - id: draft
    model: openai/gpt-5.4
    action: generate
    prompt: original
  - id: review
    model: openai/gpt-5.4
    action: critique
    prompt: |
      Criticise:
      {{ steps.draft.output | fence: "draft" }}
`

test('a definition in YAML and the same in JSON parse alike', async () => {
  const yaml = await parseDefinitionText(YAML)
  const json = await parseDefinitionText(JSON.stringify(yaml.value))
  expect(parse(yaml.value)).toEqual(parse(json.value))
  expect(parse(yaml.value).steps[1]?.prompt).toBe('Criticise:\n{{ steps.draft.output | fence: "draft" }}\n')
})

describe('problems know their line and column', () => {
  const positioned = async (text: string) => {
    const file = await parseDefinitionText(text)
    const error = file.withPositions(caught(() => parse(file.value)))
    if (!OrchestratorError.is(error) || !Array.isArray(error.details.problems)) throw error
    return { message: error.message, problems: error.details.problems }
  }

  test('a problem in YAML has its line and column', async () => {
    const { message, problems } = await positioned(
      YAML.replace('action: critique', 'acton: critique').replace('name: Review\n', ''),
    )
    expect(problems).toMatchObject([
      { path: 'name', line: 2, column: 1 },
      { path: 'steps[1].action', line: 8, column: 5 },
      { path: 'steps[1].acton', line: 10, column: 5, suggestion: 'action' },
    ])
    expect(message).toContain('10:5 steps[1].acton: unknown key; did you mean "action"?')
  })

  test('a problem in JSON has its line and column', async () => {
    const { problems } = await positioned(
      '{\n  "name": "x",\n  "type": "grahp",\n  "steps": [{ "id": "a", "model": "a/b", "action": "generate" }]\n}',
    )
    expect(problems).toMatchObject([{ path: 'type', line: 3, column: 3, suggestion: 'graph' }])
  })

  test.each(['yaml', 'json'] as const)('a problem has its file, in %s', async (format) => {
    const text = format === 'json' ? '{\n  "name": 1 }' : '# a flow\nname: 1'
    const file = await parseDefinitionText(text, { format, file: `flows/x.${format}` })
    const error = OrchestratorError.from(file.withPositions(caught(() => parse(file.value))))
    expect(error.message.split('\n')).toContain(
      `flows/x.${format}:2:${format === 'json' ? 3 : 1}: name: expected string, found 1`,
    )
    expect(error.details.problems).toContainEqual(expect.objectContaining({ path: 'name', file: `flows/x.${format}`, line: 2 }))
  })

  test('a text that cannot be parsed is rejected with its file', async () => {
    await expect(parseDefinitionText('a: 1\na: 2', { file: 'x.yaml' })).rejects.toThrow(/^x\.yaml:2:1: file: /)
    await expect(parseDefinitionText('{"a": 1,}', { file: 'x.json' })).rejects.toThrow(/^x\.json: file: expected JSON/)
  })

  test('other errors stay unchanged', async () => {
    const error = new Error('x')
    expect((await parseDefinitionText(YAML)).withPositions(error)).toBe(error)
  })
})

const LEVEL = (name: string, of: string) => `${name}: &${name} [${Array.from({ length: 9 }, () => `*${of}`).join(', ')}]\n`
const BOMB = `a: &a [${'x, '.repeat(9)}x]\n${LEVEL('b', 'a')}${LEVEL('c', 'b')}${LEVEL('d', 'c')}${LEVEL('e', 'd')}${LEVEL('f', 'e')}`

test.each([
  ['a bracket that is not closed', 'a: [1, 2', 1],
  ['a key that comes twice', 'a: 1\na: 2', 2],
  ['bad indentation', 'a:\n  b: 1\n c: 2', 3],
  ['an alias bomb', BOMB, undefined],
  ['two documents', 'a: 1\n---\nb: 2', 2],
  ['a trailing comma in JSON', '{"a": 1,}', undefined],
  ['a list 100,000 levels deep', '['.repeat(100_000), undefined],
])('a definition file with %s is refused', async (_, text, line) => {
  const error = await parseDefinitionText(text).catch((error: unknown) => error)
  expect(error).toMatchObject({
    code: 'FLOW_INVALID',
    details: { problems: [line === undefined ? { path: 'file' } : { path: 'file', line }] },
  })
})

test('YAML tags create no objects, and keys reach no prototype', async () => {
  const { value } = await parseDefinitionText('a: !!js/function "x"\n__proto__:\n  polluted: true\n')
  expect(value).toHaveProperty('a', 'x')
  expect({}).not.toHaveProperty('polluted')
})
