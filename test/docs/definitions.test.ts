import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { BUILT_IN_ROLES } from '../../src/domain/agents/built-in-roles.ts'
import { executors } from '../../src/executors/registry.ts'
import { TEMPLATE_LIMITS } from '../../src/prompts/liquid.ts'
import { FIELD_TEXTS, type FieldText, fieldGroups, renderFields } from '../support/definition-fields.ts'
import { createTestParser, problemsOf } from '../support/definitions.ts'
import { readMarkdown, tableOf } from '../support/markdown.ts'

const page = readMarkdown('docs/definitions.md')
const parser = createTestParser({
  flowTypes: Object.values(executors),
  agents: { qa: { ...BUILT_IN_ROLES.qa, model: 'openai/gpt-6-sol' } },
})
const schema = parser.jsonSchema()

describe('the page about definitions', () => {
  test('lists every field of the schema as it is, with its text and example', async () => {
    const [introduction = '', ...rest] = page.split(/(?<=^`npx vitest run test\/docs\/definitions\.test\.ts --update`\..*\n)/m)
    expect(rest.length).toBeGreaterThan(0)
    await expect(`${introduction}\n${renderFields(schema)}\n`).toMatchFileSnapshot('../../docs/definitions.md')
  })

  test('the page about definitions describes no field that the schema does not have', () => {
    const paths = fieldGroups(schema).flatMap(({ fields }) => fields.map(({ path }) => path))
    expect(paths.length).toBeGreaterThan(50)
    expect(Object.keys(FIELD_TEXTS).filter((path) => !paths.includes(path))).toEqual([])
  })

  test.each(Object.entries(FIELD_TEXTS))('shows an example that the parser accepts: %s', (path, entry) => {
    const name = path.split('.').at(-1) ?? ''
    const fields = fieldsOf(entry)
    expect(Object.keys(fields)).toEqual([name])
    const { steps } = parser.parse(withFields(path, fields))
    expect(steps.length).toBeGreaterThan(0)
  })

  test('the test of the page about definitions rejects an example in the wrong block or with a wrong value', () => {
    for (const [path, fields] of [
      ['limits.maxTokens', { rounds: 2 }],
      ['steps[].settings.topP', { topP: 2 }],
      ['steps[].fallbacks[].model', { model: 1 }],
      ['name', { rounds: 2 }],
    ] as const)
      expect(problemsOf(() => parser.parse(withFields(path, fields)))).not.toEqual([])
  })

  test('states the limits of templates as they are', () => {
    const stated = tableOf(page, 'Limit').map(([, cell = '']) => Number(cell.replaceAll(',', '')))
    const { sourceLength, marks, markLength, codeLength, nodes, memory, outputLength } = TEMPLATE_LIMITS
    expect(stated).toEqual([sourceLength, marks, markLength, codeLength, nodes, memory, outputLength])
  })
})

type Fields = Readonly<Record<string, unknown>>

/** The example as a value. */
const fieldsOf = ({ example, isCode }: FieldText): Fields => (isCode ? new Function(`return { ${example} }`)() : parse(example))

/** A whole definition in which the fields stand where the path says. */
function withFields(path: string, fields: Fields): object {
  const [block = ''] = path.split('.')
  const inStep = block === 'steps[]'
  const type = block in executors ? block : path === 'steps[].otherwise' ? 'conditional' : 'sequential'
  const model = 'openai/gpt-6-sol'
  const review = { id: 'review', model, action: 'critique', ...(type === 'conditional' && { condition: 'original != ""' }) }
  const inner = path.split('.')[1]
  const own = path.startsWith('steps[].settings.')
    ? { settings: fields }
    : path.startsWith('steps[].fallbacks[].')
      ? { fallbacks: [{ model: 'gpt-6-luna', ...fields }] }
      : inStep
        ? fields
        : {}
  const final = runningStep(path, fields) ?? waitingStep(path, fields) ?? { id: 'final', model, action: 'refine', ...own }
  const steps = [{ id: 'draft', model, action: 'generate' }, review, final]
  const definition = { name: 'Example', type, steps }
  if (block === 'callerTools[]') return { ...definition, callerTools: [{ name: 'weather', ...fields }] }
  if (inStep) return { ...definition, steps: path === 'steps[].id' ? [steps[2]] : steps }
  return inner === undefined ? { ...definition, ...fields } : { ...definition, [block]: fields }
}

/** A step that runs an operation, if the field belongs to one. */
const runningStep = (path: string, fields: Fields): object | undefined =>
  path === 'steps[].arguments' ? { id: 'final', model: 'function/lookupPrice', action: 'run', ...fields } : undefined

/** A step that waits, if the field belongs to one. */
function waitingStep(path: string, fields: Fields): object | undefined {
  if (path === 'steps[].approval') return { id: 'final', action: 'approve', ...fields }
  if (path.startsWith('steps[].approval.')) return { id: 'final', action: 'approve', approval: { prompt: 'Publish?', ...fields } }
  if (!/\.(for|until|event|correlation|timeoutMs)$/.test(path)) return undefined
  const event = /\.(correlation|timeoutMs)$/.test(path) ? { event: 'paid' } : {}
  return { id: 'final', action: 'wait', ...event, ...fields }
}
