// How it is delivered and plugged in (REQUIREMENTS S4-137 to S4-142, SPEC sections 2, 12 and 13).
//
// S4-137: configured providers work without further set-up
// S4-138: an inactive provider stops the flow before its first call
// S4-139: every method checks the permission service of the backend
// S4-140: types, index and the ready-made service have entry points of their own
// S4-141: the ten examples have entry points of their own and run
// S4-142: this suite drives the public API on three databases
// S4-T12: flows do not depend on managed services

import * as main from 'polyphony'
import {
  conversationService,
  createScriptedProvider,
  ERROR_CODES,
  OrchestratorError,
  OrchestratorServiceError,
  orchestratorService,
  type PermissionService,
  type ThreadRight,
} from 'polyphony'
import { examples } from 'polyphony/orchestrator.examples'
import * as index from 'polyphony/orchestrator.index'
import type { FlowDefinition, FlowExecutionResult, FlowStep, StepContext } from 'polyphony/orchestrator.types'
import { afterEach, expect, expectTypeOf, test, vi } from 'vitest'
import { chain } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'
import { createVendorServer } from '../support/vendor-server.ts'
import { DATABASES, describeInMemory } from './services.ts'

afterEach(() => {
  vi.unstubAllEnvs()
})

test('types, index and the ready-made service have entry points of their own', async () => {
  expect(Object.keys(index).sort()).toEqual(Object.keys(main).sort())
  expectTypeOf<FlowDefinition['steps'][number]>().toEqualTypeOf<FlowStep>()
  expectTypeOf<StepContext['stepIndex']>().toEqualTypeOf<number>()
  expectTypeOf<FlowExecutionResult['finalOutput']>().toEqualTypeOf<string>()
  const vendor = await createVendorServer()
  vi.stubEnv('DATABASE_URL', 'memory://')
  vi.stubEnv('OPENAI_API_KEY', 'key')
  vi.stubEnv('OPENAI_BASE_URL', `${vendor.url}/v1`)
  const message = { role: 'assistant', content: 'from the environment', refusal: null }
  const usage = { prompt_tokens: 1, completion_tokens: 1, total_tokens: 2 }
  vendor.answer({ body: { id: 'c', model: 'm', choices: [{ index: 0, message, finish_reason: 'stop' }], usage } })
  const thread = await conversationService.createThread('ada')
  const definition = chain({ id: 'a', provider: 'openai', model: 'gpt-4.1-mini', action: 'generate', prompt: 'original' })
  const flow = await orchestratorService.createFlow(thread.id, 'ada', definition)
  const result = await orchestratorService.executeFlow(flow.id, 'ada', { input: 'x', saveMessages: true })
  expect(result.finalOutput).toBe('from the environment')
  expect(await conversationService.getMessages(thread.id, 'ada')).toMatchObject([
    { content: 'from the environment', metadata: { orchestrationFlowId: flow.id } },
  ])
  expect(vendor.requests[0]?.headers.authorization).toBe('Bearer key')
  for (const name of ['getFlow', 'listFlows', 'deleteFlow', 'executeStep', 'cancelFlow', 'getFlowStatus', 'checkFlow'] as const) {
    expect(orchestratorService[name]).toBeTypeOf('function')
  }
  await vendor.close()
})

test('the ten examples have entry points of their own and run', { timeout: 60_000 }, async () => {
  // Six more show an approval, functions, tools, files and searches.
  expect(examples).toHaveLength(16)
  expect(new Set(examples.map(({ name }) => name)).size).toBe(16)
  for (const { name, main: run } of examples) {
    const lines: string[] = []
    await run({ log: (line) => lines.push(line) })
    expect(lines.length, name).toBeGreaterThan(0)
  }
})

test('this suite drives the public API on three databases', () => {
  expect(DATABASES).toEqual(['memory://', 'pglite://memory', 'postgres'])
})

test('flows do not depend on managed services', async () => {
  const polyphony = await openTestPolyphony({ simulator: true })
  const { id } = await polyphony.conversations.createThread('user-1', {})
  const definition = {
    name: 'one',
    type: 'sequential' as const,
    steps: [{ id: 'a', model: 'openai/gpt-6', action: 'generate' as const }],
  }
  const flow = await polyphony.orchestrator.createFlow(id, 'user-1', definition)
  expect(await polyphony.orchestrator.executeFlow(flow.id, 'user-1', { input: 'hi' })).toMatchObject({ status: 'COMPLETED' })
  expect(polyphony.services.list()).toEqual([])
  await polyphony.close()
})

test('errors are of one class under two names, each code with its facts', () => {
  expect(OrchestratorServiceError).toBe(OrchestratorError)
  const named =
    `FLOW_INVALID FLOW_INTERRUPTED FLOW_NOT_FOUND FLOW_INPUT_MISSING FLOW_ALREADY_RUNNING FLOW_ALREADY_COMPLETED FLOW_RUNNING
    FLOW_CANCELLED FLOW_TIMEOUT FLOW_NOT_REBUILDABLE NO_BRANCH_MATCHED STEP_NOT_FOUND STEP_TIMEOUT STEP_FAILED TEMPLATE_NOT_FOUND
    THREAD_NOT_FOUND PERMISSION_DENIED DATA_SHARING_DENIED LIMIT_EXCEEDED PROVIDER_NOT_CONFIGURED PROVIDER_INACTIVE PROVIDER_AUTH
    PROVIDER_RATE_LIMITED PROVIDER_QUOTA_EXHAUSTED PROVIDER_UNAVAILABLE PROVIDER_REJECTED PROVIDER_BAD_REPLY PROVIDER_STREAM_CUT
    CONTENT_FILTERED OUTPUT_INVALID DATABASE_LOCKED CONFIG_INVALID`.split(/\s+/)
  for (const code of named) {
    expect(ERROR_CODES, code).toHaveProperty(
      code,
      expect.objectContaining({
        httpStatus: expect.any(Number),
        exitCode: expect.any(Number),
        retryable: expect.any(Boolean),
        remedy: expect.any(String),
      }),
    )
  }
})

describeInMemory('delivery', (services) => {
  test('configured providers work without further set-up', async () => {
    const known = services.polyphony.providers.list().map(({ id, active }) => [id, active])
    expect(known).toEqual(
      expect.arrayContaining([
        ['alpha', true],
        ['openai', true],
        ['local', true],
        ['asleep', false],
      ]),
    )
    expect(JSON.stringify(services.polyphony.providers.list())).not.toMatch(/key-/)
    const missing = chain({ id: 'a', model: 'nowhere/m', action: 'generate' })
    await expect(services.run(missing)).rejects.toMatchObject({ code: 'PROVIDER_NOT_CONFIGURED' })
  })

  test('an inactive provider stops the flow before its first call', async () => {
    const model = services.model(() => 'ok')
    const definition = chain(model.step('a'), { id: 'b', model: 'asleep/m', action: 'generate', prompt: 'x' })
    const { orchestrator, providers } = services.polyphony
    const { userId, threadId } = await services.person()
    const flow = await orchestrator.createFlow(threadId, userId, definition)
    const refused = orchestrator.executeFlow(flow.id, userId, { input: 'x' })
    await expect(refused).rejects.toMatchObject({ code: 'PROVIDER_INACTIVE', message: expect.stringContaining('asleep') })
    expect(model.requests).toHaveLength(0)
    providers.setActive('gamma', false)
    const sleeping = services.model(['awake'], 'gamma')
    await expect(services.run(chain(sleeping.step('a')))).rejects.toMatchObject({ code: 'PROVIDER_INACTIVE' })
    providers.setActive('gamma', true)
    expect((await services.run(chain(sleeping.step('a')))).result.finalOutput).toBe('awake')
  })

  test('every method checks the permission service of the backend', async () => {
    const asked: string[] = []
    let allowed: readonly ThreadRight[] = ['read', 'write', 'delete']
    const permissions: PermissionService = {
      can: async (userId, threadId, right) => {
        asked.push(`${userId} ${threadId} ${right}`)
        return allowed.includes(right)
      },
      rightsOf: async (userId, threadId) => {
        asked.push(`${userId} ${threadId}`)
        return new Set(allowed)
      },
      grant: async () => {},
      revoke: async () => {},
      list: async () => [],
      threadCreated: async () => {},
    }
    const alpha = createScriptedProvider({ id: 'alpha', replies: () => 'ok' })
    const own = await openTestPolyphony({ providers: { alpha }, permissions })
    const thread = await own.conversations.createThread('ada')
    const definition = chain({ id: 'a', model: 'alpha/m', action: 'generate', prompt: 'x' })
    const flow = await own.orchestrator.createFlow(thread.id, 'ada', definition)
    const methods = {
      createFlow: () => own.orchestrator.createFlow(thread.id, 'ada', definition),
      getFlow: () => own.orchestrator.getFlow(flow.id, 'ada'),
      listFlows: () => own.orchestrator.listFlows(thread.id, 'ada'),
      getFlowStatus: () => own.orchestrator.getFlowStatus(flow.id, 'ada'),
      executeStep: () => own.orchestrator.executeStep(flow.id, 'a', 'ada', 'x'),
      cancelFlow: () => own.orchestrator.cancelFlow(flow.id, 'ada'),
      executeFlow: () => own.orchestrator.executeFlow(flow.id, 'ada', { input: 'x' }),
      deleteFlow: () => own.orchestrator.deleteFlow(flow.id, 'ada'),
    }
    for (const [name, method] of Object.entries(methods)) {
      asked.length = 0
      allowed = []
      await expect(method(), name).rejects.toMatchObject({ code: expect.stringMatching(/_NOT_FOUND$/) })
      expect(asked.length, name).toBeGreaterThan(0)
      expect(asked[0]).toContain(`ada ${thread.id}`)
      allowed = ['read', 'write', 'delete']
      await method()
    }
    await own.close()
  })

  test('closing ends running flows, which stay resumable, and a second close is harmless', async () => {
    const alpha = createScriptedProvider({ id: 'alpha', replies: [{ text: '', hang: true }] })
    const own = await openTestPolyphony({ providers: { alpha } })
    const thread = await own.conversations.createThread('ada')
    const definition = chain({ id: 'a', model: 'alpha/m', action: 'generate', prompt: 'x' })
    const flow = await own.orchestrator.createFlow(thread.id, 'ada', definition)
    const run = own.orchestrator.executeFlow(flow.id, 'ada', { input: 'x' }).catch((error) => error.code)
    while (alpha.requests.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
    await own.close()
    await own.close()
    expect(ERROR_CODES).toHaveProperty(await run)
  })
})
