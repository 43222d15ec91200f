import type { PolyphonyConfigInput } from '../../src/config/config.ts'
import type { FlowDefinitionInput, FlowStepInput } from '../../src/domain/definition/flow-definition.ts'
import type { FlowExecutionResult } from '../../src/domain/execution/flow-result.ts'
import type { ModelResponse } from '../../src/domain/execution/model-call.ts'
import type { ErrorCode } from '../../src/errors/error-codes.ts'
import { OrchestratorError } from '../../src/errors/orchestrator-error.ts'
import type { ExecuteFlowOptions } from '../../src/orchestrator/service-options.ts'
import type { Polyphony } from '../../src/polyphony.ts'
import type { Provider } from '../../src/providers/provider.ts'
import { createScriptedProvider, type ScriptedReplies, type ScriptedReply } from '../../src/providers/scripted.ts'
import { step } from '../support/flows.ts'
import { openTestPolyphony } from '../support/polyphony.ts'

export const USER = 'user-secret-name'

export interface Services {
  readonly polyphony: Polyphony
  readonly threadId: string
  create(definition: FlowDefinitionInput): Promise<string>
  execute(flowId: string, options?: ExecuteFlowOptions): Promise<FlowExecutionResult>
  run(definition: FlowDefinitionInput, options?: ExecuteFlowOptions): Promise<FlowExecutionResult>
}

/** A Polyphony in memory that retries without waiting. */
export async function openServices(
  providers: Readonly<Record<string, Provider>>,
  more: Omit<PolyphonyConfigInput, 'providers'> = {},
): Promise<Services> {
  const polyphony = await openTestPolyphony({ providers, retry: { baseDelayMs: 0 }, ...more })
  const { orchestrator, conversations } = polyphony
  const { id: threadId } = await conversations.createThread(USER, {})
  const create = async (definition: FlowDefinitionInput) => (await orchestrator.createFlow(threadId, USER, definition)).id
  const execute = (flowId: string, options: ExecuteFlowOptions = {}) =>
    orchestrator.executeFlow(flowId, USER, { input: 'the question', ...options })
  return {
    polyphony,
    threadId,
    create,
    execute,
    run: async (definition, options) => execute(await create(definition), options),
  }
}

export const scriptedProvider = (id: string, replies: ScriptedReplies, more: { vendor?: string; simulated?: boolean } = {}) =>
  createScriptedProvider({ id, replies, ...more })

/** A step of the model whose name these tests read in spans, metrics and log lines. */
export const modelAStep = (id: string, more: Partial<FlowStepInput> = {}): FlowStepInput =>
  step(id, { model: 'scripted/model-a', ...more })

export const failure = (code: ErrorCode): OrchestratorError => new OrchestratorError(code, `a message of ${code}`)

/** An answer with reported tokens. */
export const counted = (text: string, more: Partial<ModelResponse> = {}): ScriptedReply => ({
  text,
  usage: { inputTokens: 100, cachedInputTokens: 40, outputTokens: 20, totalTokens: 120, source: 'reported' },
  ...more,
})
