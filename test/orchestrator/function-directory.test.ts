import { expect, onTestFinished, test } from 'vitest'
import * as z from 'zod'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import { defineFunction } from '../../src/domain/tools/functions.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import { caught, rejection } from '../support/caught.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const USER = 'ada'
const runs = (name: string, given: Readonly<Record<string, string | number>> = { n: '{{ original }}' }) => ({
  name: 'functions',
  type: 'sequential' as const,
  steps: [{ id: 'only', model: `function/${name}`, action: 'run' as const, arguments: given }],
})

async function open(functions = {}) {
  const polyphony = await openTestPolyphony({ functions })
  onTestFinished(() => polyphony.close())
  const { id: threadId } = await polyphony.conversations.createThread(USER)
  return {
    ...polyphony,
    create: (definition: FlowDefinitionInput, overNetwork = false) =>
      polyphony.orchestrator.createFlow(threadId, USER, definition, { overNetwork }),
  }
}

test('a function that code registers runs in flows that were created before it and after it', async () => {
  const { functions, providers, orchestrator, create } = await open()
  expect(providers.list().map(({ id }) => id)).not.toContain('function')
  const early = await create(runs('double'))
  expect(await rejection(orchestrator.executeFlow(early.id, USER, { input: '4' }))).toMatchObject({
    code: 'PROVIDER_NOT_CONFIGURED',
  })
  functions.register('double', ({ n }) => ({ doubled: 2 * Number(n) }), { idempotent: true })
  expect(functions.list()).toEqual(['double'])
  expect(providers.list().find(({ id }) => id === 'function')).toMatchObject({ inProcess: true, active: true })
  for (const flow of [early, await create(runs('double'))]) {
    const { steps } = await orchestrator.executeFlow(flow.id, USER, { input: '4' })
    expect(steps.at(-1)).toMatchObject({ parsed: { doubled: 8 }, cost: 0 })
  }
})

test('a definition may name a registered function in place of code, and no longer once it is gone', async () => {
  const { functions, create } = await open({ other: () => 'x' })
  const named = {
    name: 'named',
    type: 'sequential' as const,
    steps: [{ id: 'a', model: 'function/other', action: 'run' as const, condition: { function: 'isUrgent' } }],
  }
  expect(await rejection(create(named))).toMatchObject({
    message: expect.stringContaining('no function "isUrgent" is registered'),
  })
  functions.register('isUrgent', () => true)
  await create(named)
  expect(functions.unregister('isUrgent')).toBe(true)
  expect(functions.unregister('isUrgent')).toBe(false)
  expect(await rejection(create(named))).toMatchObject({
    message: expect.stringContaining('no function "isUrgent" is registered'),
  })
})

test('a definition from the network may name only a registered function that is exposed', async () => {
  const { functions, create } = await open()
  functions.register('inner', () => 1)
  functions.register('outer', () => 1, { expose: 'api' })
  await create(runs('outer', {}), true)
  await create(runs('inner', {}))
  expect(await rejection(create(runs('inner', {}), true))).toMatchObject({
    message: expect.stringContaining('no operation "function/inner"'),
  })
})

test('the schema of a registered function checks its arguments', async () => {
  const { functions, create, orchestrator } = await open()
  let calls = 0
  const count = () => ++calls
  functions.register('strict', count, { schema: z.object({ sku: z.string() }) })
  functions.register('defined', defineFunction({ input: z.object({ sku: z.string() }), run: count }))
  for (const name of ['strict', 'defined']) {
    const { id } = await create(runs(name, { sku: '{{ original }}', more: 1 }))
    await orchestrator.executeFlow(id, USER, { input: 'A7' })
    const failure = await rejection(
      create(runs(name, { wrong: 1 })).then((flow) => orchestrator.executeFlow(flow.id, USER, { input: 'x' })),
    )
    expect(failure).toMatchObject({ message: expect.stringContaining('sku') })
  }
  expect(calls).toBe(2)
})

test('a name that is taken, a bad name, a bad fact and a schema that cannot be checked are refused', async () => {
  const { functions } = await open({ taken: { run: () => 1 } })
  const codeOf = (work: () => unknown) => {
    const thrown = caught(work)
    return OrchestratorError.is(thrown) ? [thrown.code, thrown.message] : thrown
  }
  expect(codeOf(() => functions.register('taken', () => 1))).toEqual([
    'FUNCTION_EXISTS',
    'A function "taken" is registered already',
  ])
  expect(codeOf(() => functions.register('a b', () => 1))).toEqual([
    'CONFIG_INVALID',
    'functions.a b: expected a name of a letter and up to 63 letters, digits, "_" or "-"',
  ])
  expect(codeOf(() => functions.register('price', () => 1, { price: -1 }))).toEqual([
    'CONFIG_INVALID',
    expect.stringContaining('functions.price.price: '),
  ])
  expect(codeOf(() => functions.register('schema', () => 1, { schema: { type: 'nonsense' } }))).toEqual([
    'CONFIG_INVALID',
    expect.stringContaining('functions.schema.input: expected a schema that can be checked'),
  ])
  expect(functions.list()).toEqual(['taken'])
})
