import { mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, onTestFinished, test } from 'vitest'
import { configuredSecretsOf } from '../../src/composition/answers/configured-secrets.ts'
import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { WritableFlowDefinition } from '../../src/domain/definition/flow-definition.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider, type ScriptedReplies } from '../../src/providers/scripted.ts'
import { rejection } from '../support/caught.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { openTestPostgres } from '../support/postgres.ts'
import { calling } from '../support/tool-world.ts'

const USER = 'ada'
let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'polyphony-recording-'))
})
afterEach(() => rmSync(directory, { recursive: true, force: true }))

async function within<Value>(config: PolyphonyConfigInput, work: (polyphony: Polyphony) => Promise<Value>): Promise<Value> {
  const polyphony = await openTestPolyphony(config)
  try {
    return await work(polyphony)
  } finally {
    await polyphony.close()
  }
}

const recording = (replies: ScriptedReplies): PolyphonyConfigInput => ({
  record: directory,
  providers: { own: createScriptedProvider({ id: 'own', vendor: 'acme', replies }) },
})

const asking = (step: Partial<WritableFlowDefinition['steps'][number]> = {}): WritableFlowDefinition => ({
  name: 'ask',
  type: 'sequential',
  steps: [{ id: 'answer', model: 'own/m', action: 'generate', prompt: '{{ input }}', ...step }],
})

async function run(polyphony: Polyphony, definition = asking(), input = 'hi') {
  const thread = await polyphony.conversations.createThread(USER)
  const flow = await polyphony.orchestrator.createFlow(thread.id, USER, definition)
  const result = await polyphony.orchestrator.executeFlow(flow.id, USER, { input })
  return { threadId: thread.id, flowId: flow.id, outputs: result.steps.map(({ output }) => output), result }
}

test('recording and replaying at once is refused, with the source of the setting', async () => {
  const error = await rejection(openTestPolyphony({ record: directory, replay: directory }))
  expect(error).toMatchObject({ code: 'CONFIG_INVALID', message: expect.stringContaining('either `record` or `replay`') })
})

test('an instance without a recording writes no file', async () => {
  await within({ providers: { own: createScriptedProvider({ id: 'own', replies: ['x'] }) } }, (polyphony) => run(polyphony))
  expect(readdirSync(directory)).toEqual([])
})

test('equal flows are replayed to their own ids in the order in which they were created, and further ones get new ids', async () => {
  const recorded = await within(recording(['one', 'two']), async (polyphony) => [await run(polyphony), await run(polyphony)])
  await within({ replay: directory }, async (polyphony) => {
    for (const { flowId, threadId, outputs } of recorded)
      expect(await run(polyphony)).toMatchObject({ flowId, threadId, outputs })
    const thread = await polyphony.conversations.createThread(USER)
    const { id } = await polyphony.orchestrator.createFlow(thread.id, USER, asking())
    expect(recorded.map(({ flowId }) => flowId)).not.toContain(id)
    expect(await rejection(polyphony.orchestrator.executeFlow(id, USER, { input: 'hi' }))).toMatchObject({ code: 'NOT_RECORDED' })
  })
})

test('a replay into the database of the recorded flow gets new ids and leaves that flow as it is', async () => {
  const { url: database, drop } = await openTestPostgres()
  onTestFinished(drop)
  const recorded = await within({ ...recording(['one']), database }, (polyphony) => run(polyphony))
  const warnings: string[] = []
  const logger = { error() {}, info() {}, debug() {}, warn: (message: string) => void warnings.push(message) }
  await within({ replay: directory, database, logger }, async (polyphony) => {
    const replayed = await run(polyphony)
    expect(replayed.outputs).toEqual(['one'])
    expect(replayed.flowId).not.toBe(recorded.flowId)
    expect(await polyphony.orchestrator.getFlow(recorded.flowId, USER)).toMatchObject({ status: 'COMPLETED' })
  })
  expect(warnings).toEqual([expect.stringContaining('answers are replayed')])
})

test('the samples of a step are replayed each to its own answer', async () => {
  const definition = asking({ samples: 3 })
  const recorded = await within(recording(['a', 'b', 'b']), (polyphony) => run(polyphony, definition))
  const replayed = await within({ replay: directory }, (polyphony) => run(polyphony, definition))
  expect(recorded.result.steps[0]?.samples).toEqual(['a', 'b', 'b'])
  expect(replayed.result.steps[0]?.samples).toEqual(['a', 'b', 'b'])
  expect(replayed.outputs).toEqual(['b'])
})

test('a changed prompt fails the replayed flow with the name of the field, and no fallback hides it', async () => {
  await within(recording(['one', 'never used']), (polyphony) => run(polyphony))
  await within({ replay: directory }, async (polyphony) => {
    const definition = asking({ prompt: 'Please: {{ input }}', fallbacks: [{ provider: 'own', model: 'm2' }] })
    expect(await rejection(run(polyphony, definition))).toMatchObject({
      code: 'NOT_RECORDED',
      details: { differing: ['messages[0].content'] },
    })
  })
})

test('a call of a tool that was not recorded fails the replayed flow by its own name', async () => {
  const functions = { count: { run: () => 1 } }
  const definition = asking({ tools: ['function/count'] })
  const config = recording([calling(['count', {}]), 'counted'])
  await within({ ...config, functions }, (polyphony) => run(polyphony, definition))
  const exchanges = join(directory, 'exchanges')
  for (const name of readdirSync(exchanges)) if (name.startsWith('function-')) rmSync(join(exchanges, name))
  await within({ replay: directory, functions }, async (polyphony) => {
    expect(await rejection(run(polyphony, definition))).toMatchObject({
      code: 'NOT_RECORDED',
      details: { provider: 'function', model: 'count' },
    })
  })
})

test('a database address with a percent sign that encodes nothing is no obstacle to a recording', () => {
  const secrets = configuredSecretsOf({
    providers: {},
    database: 'memory://',
    redisUrl: 'redis://:100%secret@host',
    webhooks: [],
    mcp: {},
  })
  expect(secrets).toEqual(['100%secret'])
})

test('a replay is checked before it runs as if its providers were configured, and answers of the simulator stay marked', async () => {
  const definition: WritableFlowDefinition = {
    ...asking(),
    steps: [{ id: 'a', model: 'openai/gpt-6-sol', action: 'generate', prompt: '{{ input }}' }],
  }
  const recorded = await within({ record: directory, simulator: true }, (polyphony) => run(polyphony, definition))
  await within({ replay: directory }, async (polyphony) => {
    const check = await polyphony.orchestrator.checkFlow(definition, USER)
    expect(check.problems).toEqual([])
    const { result, outputs } = await run(polyphony, definition)
    expect(outputs).toEqual(recorded.outputs)
    expect(result.simulated).toBe(true)
  })
})
