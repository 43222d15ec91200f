import type { ConversationService } from './conversations/conversation-service.ts'
import type { OrchestratorService } from './orchestrator/orchestrator-service.ts'
import type { DataSharingService } from './policies/policy.ts'
import { createPolyphony, type Polyphony } from './polyphony.ts'

export {
  createComparisonFlow,
  createConditionalRoutingFlow,
  createConsensusFlow,
  createCritiqueFlow,
  createQualityAssuranceFlow,
  createRefinementFlow,
  createSequentialAnalysisFlow,
  flowTemplates,
  getFlowTemplate,
  listFlowTemplates,
} from '../templates/index.ts'
export type { AgentSettings, ConfiguredPrice, Logger, PolyphonyConfigInput } from './config/config.ts'
export { ConversationService, type ThreadPage } from './conversations/conversation-service.ts'
export type {
  ContextPolicy,
  DefinitionProblem,
  FlowDefinition as ParsedFlowDefinition,
  FlowDefinitionInput,
  FlowLimits,
  FlowStep as ParsedFlowStep,
  FlowStepInput,
  Target, // What users write is what they call a definition and a step.
  WritableFlowDefinition as FlowDefinition,
  WritableFlowStep as FlowStep,
} from './domain/definition/flow-definition.ts'
export type { GivenStepContext, GivenStepContext as StepContext } from './domain/definition/step-context.ts'
export type { FlowStatusReport, OrchestrationFlow, OrchestrationFlowSummary } from './domain/execution/flow.ts'
export type { FlowError, FlowExecutionResult } from './domain/execution/flow-result.ts'
export type {
  FlowUpdate,
  FlowUpdate as FlowStreamUpdate,
  FlowUpdateData,
  FlowUpdateType,
} from './domain/execution/flow-update.ts'
export type { FinishReason, ModelRequest, ModelResponse } from './domain/execution/model-call.ts'
export type {
  Attempt,
  StepResult,
  StepResult as FlowStepResult,
  StepResult as OrchestrationStepResult,
} from './domain/execution/step-result.ts'
export { StepStatus, StepStatus as OrchestrationStepStatus } from './domain/execution/step-result.ts'
export type { Usage, Usage as TokenUsage } from './domain/execution/usage.ts'
export type { UsageFigures, UsageGroup, UsageRow } from './domain/execution/usage-report.ts'
export type { ApiKey } from './domain/users/api-key.ts'
export { SCOPES, type Scope } from './domain/users/api-key.ts'
export type { IdempotencyState, IdempotentAnswer, IdempotentRequest } from './domain/users/idempotency.ts'
export type { DataSharingPolicy, DataSharingRules, SharingDecision } from './domain/users/sharing.ts'
export type { Attachment, Message, Message as ConversationMessage, Thread, ThreadRight } from './domain/users/thread.ts'
export type { FlowType, StopReason } from './domain/vocabulary.ts'
export { FlowStatus, FlowStatus as OrchestrationFlowStatus, OrchestrationFlowType, StepAction } from './domain/vocabulary.ts'
export { ERROR_CODES, type ErrorCode, type ErrorCodeFacts } from './errors/error-codes.ts'
export { OrchestratorError, OrchestratorError as OrchestratorServiceError } from './errors/orchestrator-error.ts'
export type { SavedFlow, SavedFlowName } from './orchestrator/flows/flow-lists.ts'
export { type UsageOptions, type UsageReport, UsageService } from './orchestrator/flows/usage-service.ts'
export type { FlowCheck } from './orchestrator/inspect/check-flow.ts'
export type { FlowFinding } from './orchestrator/inspect/flow-finding.ts'
export { type FlowPage, OrchestratorService } from './orchestrator/orchestrator-service.ts'
export type { ExecuteFlowOptions, ListFlowsOptions, TimeoutConfig } from './orchestrator/service-options.ts'
export type { ApiKeyService, DataSharingService, NewApiKey, PermissionService } from './policies/policy.ts'
export { type CreatePolyphonyOptions, createPolyphony, type Polyphony } from './polyphony.ts'
export type { Provider, ProviderInfo, ProviderService } from './providers/provider.ts'
export { createScriptedProvider } from './providers/scripted.ts'
export type { IdempotencyRepository, TicketRepository } from './repositories/repository.ts'
export type { Metrics, RequestContext, Telemetry } from './telemetry/telemetry.ts'

let defaultInstance: Promise<Polyphony> | undefined

/** The instance behind `orchestratorService`, built from the environment at first use. */
function defaultPolyphony(): Promise<Polyphony> {
  defaultInstance ??= createPolyphony().catch((error) => {
    defaultInstance = undefined
    throw error
  })
  return defaultInstance
}

type OnDefault<Service> = {
  [Name in keyof Service]: Service[Name] extends (...parameters: infer Parameters) => infer Answer
    ? (...parameters: Parameters) => Answer
    : Service[Name]
}

/** The service of a default instance, built from the environment at first use (S4-140). */
export const orchestratorService: OnDefault<OrchestratorService> = {
  createFlow: async (...given) => (await defaultPolyphony()).orchestrator.createFlow(...given),
  getFlow: async (...given) => (await defaultPolyphony()).orchestrator.getFlow(...given),
  listFlows: async (...given) => (await defaultPolyphony()).orchestrator.listFlows(...given),
  getThreadId: async (...given) => (await defaultPolyphony()).orchestrator.getThreadId(...given),
  listFlowsOf: async (...given) => (await defaultPolyphony()).orchestrator.listFlowsOf(...given),
  listFlowPage: async (...given) => (await defaultPolyphony()).orchestrator.listFlowPage(...given),
  findSavedFlow: async (...given) => (await defaultPolyphony()).orchestrator.findSavedFlow(...given),
  listSavedFlows: async (...given) => (await defaultPolyphony()).orchestrator.listSavedFlows(...given),
  deleteFlow: async (...given) => (await defaultPolyphony()).orchestrator.deleteFlow(...given),
  executeFlow: async (...given) => (await defaultPolyphony()).orchestrator.executeFlow(...given),
  startFlow: async (...given) => (await defaultPolyphony()).orchestrator.startFlow(...given),
  executeStep: async (...given) => (await defaultPolyphony()).orchestrator.executeStep(...given),
  cancelFlow: async (...given) => (await defaultPolyphony()).orchestrator.cancelFlow(...given),
  getFlowStatus: async (...given) => (await defaultPolyphony()).orchestrator.getFlowStatus(...given),
  checkFlow: async (...given) => (await defaultPolyphony()).orchestrator.checkFlow(...given),
  preflight: async (...given) => (await defaultPolyphony()).orchestrator.preflight(...given),
  answerSteps: async (...given) => (await defaultPolyphony()).orchestrator.answerSteps(...given),
  finalSteps: async (...given) => (await defaultPolyphony()).orchestrator.finalSteps(...given),
  rerunFlow: async (...given) => (await defaultPolyphony()).orchestrator.rerunFlow(...given),
  async *streamFlow(...given) {
    yield* (await defaultPolyphony()).orchestrator.streamFlow(...given)
  },
  registerFlow: async (...given) => (await defaultPolyphony()).orchestrator.registerFlow(...given),
}

/** The conversations of the same default instance. */
export const conversationService: OnDefault<ConversationService> = {
  createThread: async (...given) => (await defaultPolyphony()).conversations.createThread(...given),
  getThread: async (...given) => (await defaultPolyphony()).conversations.getThread(...given),
  listThreads: async (...given) => (await defaultPolyphony()).conversations.listThreads(...given),
  listThreadPage: async (...given) => (await defaultPolyphony()).conversations.listThreadPage(...given),
  deleteThread: async (...given) => (await defaultPolyphony()).conversations.deleteThread(...given),
  addMessage: async (...given) => (await defaultPolyphony()).conversations.addMessage(...given),
  addMessages: async (...given) => (await defaultPolyphony()).conversations.addMessages(...given),
  getMessages: async (...given) => (await defaultPolyphony()).conversations.getMessages(...given),
}

/** Whom the users of the same default instance allow to see their texts. */
export const dataSharingService: OnDefault<DataSharingService> = {
  set: async (...given) => (await defaultPolyphony()).dataSharing.set(...given),
  get: async (...given) => (await defaultPolyphony()).dataSharing.get(...given),
  list: async (...given) => (await defaultPolyphony()).dataSharing.list(...given),
  remove: async (...given) => (await defaultPolyphony()).dataSharing.remove(...given),
}
