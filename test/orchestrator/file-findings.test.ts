import { afterAll, afterEach, beforeAll, expect, test } from 'vitest'
import { allowNeeded, neededSharing } from '../../src/cli/questions/sharing.ts'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const USER = 'ada'
const ALL = ['alpha', 'beta', 'gamma']

let polyphony: Polyphony
beforeAll(async () => {
  const operation = {
    method: 'GET' as const,
    path: '/find/{text}',
    input: { type: 'object', properties: { text: { type: 'string' } } },
  }
  polyphony = await openTestPolyphony({
    providers: {
      ...Object.fromEntries(ALL.map((id) => [id, createScriptedProvider({ id, replies: [] })])),
      shop: { kind: 'http', baseUrl: 'https://shop.example', operations: { find: operation } },
    },
    functions: { upper: { run: () => 'X' } },
    pools: { writers: { members: [{ model: 'beta/m' }, { model: 'gamma/m' }] } },
  })
})
afterEach(async () => {
  for (const id of [...ALL, 'shop']) await polyphony.dataSharing.remove(USER, id).catch(() => {})
})
afterAll(() => polyphony.close())

const step = (id: string, model: string, further = {}) => ({ id, model, action: 'generate' as const, ...further })
const flow = (steps: readonly object[], type = 'sequential') => ({ name: 'files', type, steps }) as FlowDefinitionInput

/** The providers that may receive files and may not see them. */
async function missing(definition: FlowDefinitionInput, files = true): Promise<readonly string[]> {
  const problems = await polyphony.orchestrator.preflight(definition, USER, { steps: 'all', files })
  const other = problems.filter(({ code }) => code !== 'DATA_SHARING_DENIED')
  expect(other).toEqual([])
  return problems
    .filter(({ details: { allow } }) => Array.isArray(allow) && allow.includes('allowAttachments'))
    .map(({ details }) => String(details.to))
    .sort()
}

test.each([
  ['the step that reads the prompt', flow([step('a', 'alpha/m')]), ['alpha']],
  ['its fallbacks', flow([step('a', 'alpha/m', { fallbacks: [{ provider: 'beta', model: 'm' }] })]), ['alpha', 'beta']],
  ['all members of a pool', flow([step('a', 'pool/writers')]), ['beta', 'gamma']],
  [
    'the members of a pool that is a fallback',
    flow([step('a', 'alpha/m', { fallbacks: [{ provider: 'pool', model: 'writers' }] })]),
    ['alpha', 'beta', 'gamma'],
  ],
  [
    'a later step that reads the prompt',
    flow([step('a', 'alpha/m'), step('b', 'beta/m', { inputFrom: 'original' })]),
    ['alpha', 'beta'],
  ],
  [
    'a later step that reads what was made from the files',
    flow([step('a', 'alpha/m'), step('b', 'beta/m', { inputFrom: 'a' })]),
    ['alpha', 'beta'],
  ],
  ['every branch that starts from the prompt', flow([step('a', 'alpha/m'), step('b', 'beta/m')], 'parallel'), ['alpha', 'beta']],
  [
    'branches that may not be chosen',
    flow([step('a', 'alpha/m', { condition: 'false' }), step('b', 'beta/m', { otherwise: true })], 'conditional'),
    ['alpha', 'beta'],
  ],
  [
    'no function, which runs in this process',
    flow([{ id: 'u', action: 'run', model: 'function/upper', arguments: {} }, step('b', 'beta/m', { inputFrom: 'u' })]),
    [],
  ],
])('files of the prompt need the consent of the user for %s', async (_name, definition, expected) => {
  expect(await missing(definition)).toEqual(expected)
  expect(await missing(definition, false)).toEqual([])
})

test('a tool needs the consent too if it would get the arguments that a model writes about the files', async () => {
  const definition = flow([step('a', 'alpha/m', { tools: ['shop/find'] })])
  expect(await missing(definition)).toEqual(['alpha'])
  await polyphony.dataSharing.set(USER, 'shop', { allowCrossProviderContext: true })
  expect(await missing(definition)).toEqual(['alpha', 'shop'])
})

test('what the preflight names is all that has to be allowed', async () => {
  const definition = flow([step('a', 'pool/writers'), step('b', 'alpha/m', { inputFrom: 'a' })])
  const problems = await polyphony.orchestrator.preflight(definition, USER, { steps: 'all', files: true })
  await allowNeeded(polyphony.dataSharing, USER, neededSharing({ problems }))
  expect(await polyphony.orchestrator.preflight(definition, USER, { steps: 'all', files: true })).toEqual([])
})
