import { ConversationService } from './conversations/conversation-service.ts'
import { OrchestratorService } from './orchestrator/orchestrator-service.ts'
import type { DataSharingService } from './policies/policy.ts'
import { createPolyphony, type Polyphony } from './polyphony.ts'

export {
  createComparisonFlow,
  createConditionalRoutingFlow,
  createConsensusFlow,
  createCritiqueFlow,
  createDevelopmentFlow,
  createQualityAssuranceFlow,
  createRefinementFlow,
  createResearchFlow,
  createSequentialAnalysisFlow,
  flowTemplates,
  getFlowTemplate,
  listFlowTemplates,
} from '../templates/index.ts'
export type { Cache, CacheStats, MemoizeOptions } from './caches/cache.ts'
export { type CachePolicy, type CreateCacheOptions, createCache } from './caches/create-cache.ts'
export { SwarmInterface, type WorkflowListQuery, type WorkflowServiceHealth } from './client/swarm.ts'
export type { WorkflowReport, WorkflowStatus, WorkflowTask } from './client/wire.ts'
export {
  type BuiltWorkflow,
  type CustomAgent,
  createAgent,
  type NewAgentFields,
  WorkflowBuilder,
  type WorkflowInput,
  type WorkflowTaskInput,
  WorkflowType,
} from './client/workflows/workflow-builder.ts'
export { type PatternTask, WorkflowPatterns } from './client/workflows/workflow-patterns.ts'
export type { AgentSettings, ConfiguredPrice, Logger, PolyphonyConfigInput } from './config/config.ts'
export type { ThreadPage } from './conversations/conversation-service.ts'
export type {
  ContextPolicy,
  DefinitionProblem,
  FlowDefinition as ParsedFlowDefinition,
  FlowDefinitionInput,
  FlowLimits,
  FlowStep as ParsedFlowStep,
  FlowStepInput,
  Target, // Users write these forms, so they have the plain names.
  WritableFlowDefinition as FlowDefinition,
  WritableFlowStep as FlowStep,
} from './domain/definition/flow-definition.ts'
export type { GivenStepContext, GivenStepContext as StepContext } from './domain/definition/step-context.ts'
export {
  EVENT_PRIORITIES,
  type EventFilter,
  type EventPriority,
  type EventQuery,
  type NewEvent,
  type PolyphonyEvent,
} from './domain/event.ts'
export { type CallFacts, withCallFacts } from './domain/execution/call-facts.ts'
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
export type { ServiceConfig } from './domain/services/service-config.ts'
export type { ServiceType } from './domain/services/service-definition.ts'
export type { ServiceHealth, ServiceState } from './domain/services/service-state.ts'
export type { CallOrigin } from './domain/tools/call-origin.ts'
export {
  defineFunction,
  type FunctionContext,
  type OperationFunction,
  type RegisteredFunction,
} from './domain/tools/functions.ts'
export type { ApiKey } from './domain/users/api-key.ts'
export { SCOPES, type Scope } from './domain/users/api-key.ts'
export type { BudgetAmounts, BudgetReport, BudgetScope, BudgetSettings, BudgetWindow } from './domain/users/budget.ts'
export type { IdempotencyState, IdempotentAnswer, IdempotentRequest } from './domain/users/idempotency.ts'
export type { DataSharingPolicy, DataSharingRules, SharingDecision } from './domain/users/sharing.ts'
export type { Attachment, Message, Message as ConversationMessage, Thread, ThreadRight } from './domain/users/thread.ts'
export type { FlowType, StopReason } from './domain/vocabulary.ts'
export { FlowStatus, FlowStatus as OrchestrationFlowStatus, OrchestrationFlowType, StepAction } from './domain/vocabulary.ts'
export type { WaitDecision, WaitKind } from './domain/waiting/wait.ts'
export type { ErrorCodeFacts } from './errors/error-code-facts.ts'
export { ERROR_CODES, type ErrorCode } from './errors/error-codes.ts'
export { OperationError } from './errors/operation-error.ts'
export { OrchestratorError, OrchestratorError as OrchestratorServiceError } from './errors/orchestrator-error.ts'
export type {
  AggregateOptions,
  BatchHandler,
  DroppedEvents,
  EventHandler,
  EventStats,
  Events,
  HandlerOptions,
} from './events/event.ts'
export { Orchestra } from './facades/main.ts'
export type { OrchestraEvent, OrchestraMetrics, OrchestraOptions, OrchestraServiceInput } from './facades/orchestra.ts'
export { Agent, type AgentOptions } from './facades/orchestrator/agent.ts'
export { Orchestrator } from './facades/orchestrator/main.ts'
export type { OrchestratorConfig } from './facades/orchestrator/orchestrator-config.ts'
export type { LoadBalancer, OrchestratorStats } from './facades/orchestrator/orchestrator-stats.ts'
export type { StepExecutor, StepExecutorContext, StepOutcome } from './facades/orchestrator/workflows/step-executors.ts'
export type { Workflow, WorkflowExecution, WorkflowStep } from './facades/orchestrator/workflows/workflow.ts'
export type { AgentDirectory, NewAgent, RegisteredAgent } from './orchestrator/agents/agent-directory.ts'
export { BudgetService } from './orchestrator/budgets/budget-service.ts'
export type { FlowPage, SavedFlow, SavedFlowName } from './orchestrator/flows/flow-lists.ts'
export { type UsageOptions, type UsageReport, UsageService } from './orchestrator/flows/usage-service.ts'
export type { FlowCheck } from './orchestrator/inspect/check-flow.ts'
export type { FlowFinding } from './orchestrator/inspect/flow-finding.ts'
export type { FunctionDirectory, FunctionOptions } from './orchestrator/operations/function-directory.ts'
export type { ExecuteFlowOptions, ListFlowsOptions, TimeoutConfig } from './orchestrator/service-options.ts'
export type { EventReceipt, SignalAnswer, SignalEvent, SignalReceipt } from './orchestrator/waiting/signals.ts'
export type { ListWaitingOptions, WaitingPage, WaitingStep } from './orchestrator/waiting/waiting-list.ts'
export type { ApiKeyService, DataSharingService, NewApiKey, PermissionService } from './policies/policy.ts'
export { type CreatePolyphonyOptions, createPolyphony, type Polyphony } from './polyphony.ts'
export type { Provider, ProviderInfo, ProviderService } from './providers/provider.ts'
export { type ProviderFailure, providerError } from './providers/provider-error.ts'
export {
  createScriptedProvider,
  type ScriptedAnswer,
  type ScriptedProvider,
  type ScriptedReply,
} from './providers/scripted.ts'
export type { IdempotencyRepository, TicketRepository } from './repositories/repository.ts'
export type {
  InProcessContext,
  InProcessService,
  LogLine,
  ServiceAnswer,
  ServiceInput,
  ServiceReload,
  ServiceReport,
  ServiceRequest,
  Services,
} from './services/service.ts'
export type { Metrics, RequestContext, Telemetry } from './telemetry/telemetry.ts'

export { ConversationService, OrchestratorService }

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

/**
 * A service of the default instance: an object with the methods of `methods`, each of which waits for the instance and
 * calls the method of the same name. An async generator stays one: it returns its generator at once and waits when it
 * is read. The compiler cannot derive these types from names that come from a prototype, so the overload states them.
 */
function onDefault<Service extends object>(methods: object, find: (polyphony: Polyphony) => Service): OnDefault<Service>
function onDefault(methods: object, find: (polyphony: Polyphony) => object): object {
  const call = async (name: string, parameters: readonly unknown[]) => {
    const service = find(await defaultPolyphony())
    const method = Reflect.get(service, name)
    return method.apply(service, parameters)
  }
  const names = Object.getOwnPropertyNames(methods).filter((name) => name !== 'constructor')
  const delegates = names.map((name) => {
    const isGenerator = Reflect.get(methods, name) instanceof AsyncGeneratorFunction
    const generate = async function* (...parameters: unknown[]) {
      yield* await call(name, parameters)
    }
    return [name, isGenerator ? generate : (...parameters: unknown[]) => call(name, parameters)]
  })
  return Object.fromEntries(delegates)
}

const AsyncGeneratorFunction = Object.getPrototypeOf(async function* () {}).constructor

/** Names of the methods of a data-sharing service, which has no class. */
const DATA_SHARING_METHODS = { set: true, get: true, list: true, remove: true } satisfies Record<keyof DataSharingService, true>

/** The orchestrator service of the default instance, which is built from the environment at first use. */
export const orchestratorService = onDefault(OrchestratorService.prototype, ({ orchestrator }) => orchestrator)

/** The conversations of the same default instance. */
export const conversationService = onDefault(ConversationService.prototype, ({ conversations }) => conversations)

/** The consent of users of the same default instance to share their texts with providers. */
export const dataSharingService = onDefault(DATA_SHARING_METHODS, ({ dataSharing }) => dataSharing)
