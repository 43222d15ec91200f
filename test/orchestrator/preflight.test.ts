import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { prepareRun } from '../../src/cli/questions/sharing.ts'
import { createTerminal } from '../../src/cli/terminal.ts'
import type { FlowDefinitionInput } from '../../src/domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { PreflightOptions } from '../../src/orchestrator/inspect/preflight.ts'
import { createParser, type Polyphony } from '../../src/polyphony.ts'
import { createScriptedProvider } from '../../src/providers/scripted.ts'
import { assertWouldRun } from '../../src/server/mcp/tools/create-flow.ts'
import { assertRunnable } from '../../src/server/requests/runnable.ts'
import { combination, toDefinition } from '../faults/canary-flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

const USER = 'ada'
const { parse } = createParser()

let polyphony: Polyphony
beforeAll(async () => {
  const provider = (id: string) => [id, createScriptedProvider({ id, replies: [] })]
  const providers = Object.fromEntries(['alpha', 'beta', 'gamma'].map(provider))
  polyphony = await openTestPolyphony({ providers })
})
afterAll(() => polyphony.close())

const context = { terminal: createTerminal(process), json: true }

/** What each interface does before a run, and the options by which it must decide. */
const INTERFACES: Readonly<
  Record<string, { readonly options: PreflightOptions; check(definition: FlowDefinitionInput, userId: string): Promise<void> }>
> = {
  'the CLI': {
    options: { steps: 'all' },
    check: (definition, userId) => prepareRun(context, polyphony, definition, { userId, allowSharing: false }),
  },
  'the CLI with files': {
    options: { steps: 'all', files: true },
    check: (definition, userId) => prepareRun(context, polyphony, definition, { userId, allowSharing: false, files: true }),
  },
  'MCP with limits of its own': {
    options: { steps: 'all', ignoreDefinition: true, ignoreLimits: true },
    check: (definition, userId) => assertWouldRun({ deps: polyphony, caller: { userId } }, definition, {}),
  },
  MCP: {
    options: { steps: 'all', ignoreDefinition: true },
    check: (definition, userId) => assertWouldRun({ deps: polyphony, caller: { userId } }, definition, undefined),
  },
  'the OpenAI-compatible API': {
    options: { steps: 'certain', ignoreDefinition: true, ignoreLimits: true },
    check: (definition, userId) => assertRunnable(polyphony, parse(definition), userId),
  },
  'the OpenAI-compatible API with files': {
    options: { steps: 'certain', ignoreDefinition: true, ignoreLimits: true, files: true },
    check: (definition, userId) => assertRunnable(polyphony, parse(definition), userId, { files: true }),
  },
}

const codeOf = (work: Promise<void>): Promise<string | undefined> =>
  work.then(
    () => undefined,
    (error: unknown) => OrchestratorError.from(error).code,
  )

test.each(Object.entries(INTERFACES))(
  '%s starts a run exactly when the preflight of its options finds nothing',
  async (name, one) => {
    const verdicts = { starts: 0, refuses: 0 }
    for (const [index, plan] of fc.sample(combination, { numRuns: 300, seed: 8 }).entries()) {
      const definition = { ...toDefinition(plan, 'run'), ...(index % 4 === 0 && { limits: { maxCostUsd: 0.01 } }) }
      const userId = `user-${index}`
      for (const [id, rules] of Object.entries(plan.policies)) if (rules) await polyphony.dataSharing.set(userId, id, rules)
      const problems = await polyphony.orchestrator.preflight(definition, userId, one.options)
      // The command line asks about sharing last, because a user can allow it there.
      const first = problems.find(({ code }) => code !== 'DATA_SHARING_DENIED') ?? problems[0]
      const code = await codeOf(one.check(definition, userId))
      expect(code === undefined, JSON.stringify(definition)).toBe(problems.length === 0)
      if (one.options.steps === 'all' && name.startsWith('the CLI')) expect(code).toBe(first?.code)
      else expect(code).toBe(problems[0]?.code)
      verdicts[code === undefined ? 'starts' : 'refuses']++
    }
    expect(verdicts.starts).toBeGreaterThan(20)
    expect(verdicts.refuses).toBeGreaterThan(20)
  },
)

const stepOf = (id: string, provider: string, more: object = {}) => ({
  id,
  provider,
  model: 'm',
  action: 'generate' as const,
  ...more,
})

describe('the options', () => {
  const codes = async (definition: FlowDefinitionInput, options: PreflightOptions) =>
    (await polyphony.orchestrator.preflight(definition, USER, options)).map(({ code, path }) => `${code} ${path}`)

  test('steps: certain leaves out sharing of steps that may not run, and stand-ins for steps that may be skipped', async () => {
    const steps = [
      stepOf('a', 'alpha'),
      stepOf('b', 'beta', { condition: 'false' }),
      stepOf('c', 'beta', { prompt: 'Use {{ previous }}' }),
      stepOf('d', 'gamma', { prompt: 'Use {{ previous }}', optional: true }),
    ]
    const definition: FlowDefinitionInput = { name: 'x', type: 'sequential', steps }
    expect(await codes(definition, { steps: 'certain' })).toEqual([])
    expect(await codes(definition, { steps: 'all' })).toEqual(['DATA_SHARING_DENIED steps[2]', 'DATA_SHARING_DENIED steps[3]'])
  })

  test('ignoreDefinition and ignoreLimits leave out exactly these problems', async () => {
    const definition: FlowDefinitionInput = {
      name: 'x',
      type: 'sequential',
      steps: [stepOf('a', 'alpha')],
      limits: { maxCostUsd: 0 },
    }
    expect(await codes(definition, { steps: 'all' })).toEqual(['LIMIT_EXCEEDED limits.maxCostUsd'])
    expect(await codes(definition, { steps: 'all', ignoreLimits: true })).toEqual([])
    const invalid = { ...definition, steps: [stepOf('a', 'alpha', { inputFrom: 'missing' })] }
    expect(await codes(invalid, { steps: 'all' })).toEqual(['FLOW_INVALID steps[0].inputFrom'])
    expect(await codes(invalid, { steps: 'all', ignoreDefinition: true })).toEqual([])
  })

  test('a provider that is not configured stops every run', async () => {
    const definition: FlowDefinitionInput = { name: 'x', type: 'sequential', steps: [stepOf('a', 'nowhere')] }
    const options = { steps: 'certain', ignoreDefinition: true, ignoreLimits: true } as const
    expect(await codes(definition, options)).toEqual(['PROVIDER_NOT_CONFIGURED steps[0].provider'])
  })
})
