import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import type { RegisteredFunction } from '../../src/domain/tools/functions.ts'
import { createPolyphony } from '../../src/polyphony.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { rejection } from '../support/caught.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'

const USER = 'ada'
const definition: FlowDefinitionInput = {
  name: 'named',
  type: 'sequential',
  steps: [
    { id: 'greet', model: 'scripted/m', action: 'generate', prompt: { function: 'greeting' } },
    { id: 'urgent', model: 'scripted/m', action: 'generate', prompt: 'x', condition: { function: 'isUrgent' } },
  ],
  onStepComplete: { function: 'note' },
}

const noted: string[] = []
const functions: Readonly<Record<string, RegisteredFunction>> = {
  greeting: ({ originalPrompt }) => `Hello ${originalPrompt}`,
  isUrgent: {
    run: ({ previousStepOutput }, { userId, flowId }) => previousStepOutput === 'now' && userId === USER && flowId !== '',
  },
  note: ({ stepId }) => noted.push(stepId),
}

async function open(database: string, given: typeof functions, replies: readonly string[]) {
  const scripted = createScriptedProvider({ replies })
  const polyphony = await openTestPolyphony({ database, functions: given, providers: { scripted } })
  onTestFinished(() => polyphony.close())
  return { ...polyphony, scripted }
}

test('a definition that names functions is stored as data and runs in every process that has them', async () => {
  const { url } = await openTestPostgres()
  const first = await open(url, functions, [])
  const { id: threadId } = await first.conversations.createThread(USER, {})
  const create = () => first.orchestrator.createFlow(threadId, USER, JSON.parse(JSON.stringify(definition)))
  const [one, two, three] = [await create(), await create(), await create()]
  const second = await open(url, functions, ['now', 'done', 'later'])
  expect(await second.orchestrator.executeFlow(one.id, USER, { input: 'Ada' })).toMatchObject({ finalOutput: 'done' })
  expect(second.scripted.requests[0]?.messages.at(-1)?.content).toContain('Hello Ada')
  expect(noted).toEqual(['greet', 'urgent'])
  const { steps } = await second.orchestrator.executeFlow(two.id, USER, { input: 'Ada' })
  expect(steps.map(({ status }) => status)).toEqual(['SUCCESS', 'SKIPPED'])
  const without = await open(url, {}, [])
  const error = await rejection(without.orchestrator.executeFlow(three.id, USER, { input: 'Ada' }))
  expect(error).toMatchObject({ code: 'FLOW_NOT_REBUILDABLE' })
  expect(String(error)).toMatch(/greeting.*isUrgent/s)
  expect((await without.orchestrator.getFlow(three.id, USER)).name).toBe('named')
})

test('a name that is not registered is a problem of the definition, with a similar name', async () => {
  const { orchestrator } = await open('memory://', functions, [])
  const [step] = definition.steps
  const steps = [{ ...step, id: 'a', action: 'generate' as const, prompt: { function: 'greetings' } }]
  expect(await orchestrator.checkFlow({ name: 'x', type: 'sequential', steps }, USER)).toMatchObject({
    problems: [{ code: 'FLOW_INVALID', path: 'steps[0].prompt', details: { suggestion: 'greeting' } }],
  })
})

test('polyphony.yaml names a module of functions, relative to itself', async () => {
  const cwd = await mkdtemp(join(tmpdir(), 'functions-'))
  onTestFinished(() => rm(cwd, { recursive: true }))
  await writeFile(join(cwd, 'polyphony.yaml'), 'database: memory://\nfunctions: ./functions.mjs\n')
  await writeFile(
    join(cwd, 'functions.mjs'),
    'export const double = { run: ({ n }) => n * 2 }\nexport default { half: { run: ({ n }) => n / 2 } }\n',
  )
  const polyphony = await createPolyphony({}, { env: {}, cwd })
  onTestFinished(() => polyphony.close())
  const { id } = await polyphony.conversations.createThread(USER, {})
  const flow = await polyphony.orchestrator.createFlow(id, USER, {
    name: 'x',
    type: 'sequential',
    steps: [
      { id: 'double', model: 'function/double', action: 'run', arguments: { n: 4 } },
      { id: 'half', model: 'function/half', action: 'run', arguments: { n: '{{ steps.double.parsed }}' } },
    ],
  })
  expect(await polyphony.orchestrator.executeFlow(flow.id, USER, { input: 'x' })).toMatchObject({ finalOutput: '4' })
  await writeFile(join(cwd, 'functions.mjs'), 'export const broken = 7\n')
  await writeFile(join(cwd, 'polyphony.yaml'), 'database: memory://\nfunctions: ./broken.mjs\n')
  expect(await rejection(createPolyphony({}, { env: {}, cwd }))).toMatchObject({ code: 'CONFIG_INVALID' })
  await writeFile(join(cwd, 'broken.mjs'), 'export const broken = 7\n')
  expect(await rejection(createPolyphony({}, { env: {}, cwd }))).toMatchObject({ code: 'CONFIG_INVALID' })
})
