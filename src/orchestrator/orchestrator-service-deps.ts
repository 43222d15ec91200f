import type { AnswerStep } from '../domain/answers/answer-text.ts'
import type { FlowDefinition, FlowDefinitionInput, FlowStep } from '../domain/definition/flow-definition.ts'
import type { ResolveAttachments } from '../domain/users/new-attachment.ts'
import type { FlowType } from '../domain/vocabulary.ts'
import type { Executor } from '../executors/executor.ts'
import type { Store } from '../repositories/repository.ts'
import type { FlowAccess } from './flows/flow-access.ts'
import type { FlowCache } from './flows/flow-cache.ts'
import type { StoreFlow } from './flows/flow-creation.ts'
import type { FlowDefinitions } from './flows/flow-definitions.ts'
import type { FlowLists } from './flows/flow-lists.ts'
import type { CheckFlow } from './inspect/check-flow.ts'
import type { Preflight } from './inspect/preflight.ts'
import type { OwnershipWatch } from './ownership/ownership-watch.ts'
import type { FlowExecutions } from './runs/flow-executions.ts'
import type { ExecuteOneStep } from './runs/single-step.ts'
import type { LiveUpdates } from './updates/live-updates.ts'
import type { Signals } from './waiting/signals.ts'
import type { WaitingList } from './waiting/waiting-list.ts'

/** Collaborators of OrchestratorService. Built by `createPolyphony`. */
export interface OrchestratorServiceDeps {
  readonly store: Store
  readonly access: FlowAccess
  readonly lists: FlowLists
  readonly definitions: FlowDefinitions
  readonly cache: FlowCache
  /** Implemented by createFlowCreation. */
  readonly storeFlow: StoreFlow
  /** Implemented by createAttachments. */
  readonly attachments: ResolveAttachments
  readonly executions: FlowExecutions
  readonly live: LiveUpdates
  /** Of this process. */
  readonly ownerId: string
  readonly ownershipWatch: Pick<OwnershipWatch, 'publishTaken'>
  /** Implemented by createCheckFlow. */
  readonly checkFlow: CheckFlow
  /** Implemented by createPreflight. */
  readonly preflight: Preflight
  /** Implemented by createAnswerSteps. */
  readonly answerSteps: (definition: FlowDefinition) => readonly AnswerStep[]
  /** Implemented by createFinalSteps. */
  readonly finalSteps: (definition: FlowDefinitionInput) => readonly FlowStep[]
  /** Implemented by createSingleStep. */
  readonly executeOneStep: ExecuteOneStep
  /** Implemented by the registry of executors. */
  readonly executorOf: (type: FlowType) => Pick<Executor, 'noImplicitPredecessor' | 'loop'>
  /** Implemented by createSignals. */
  readonly signals: Signals
  /** Implemented by createWaitingList. */
  readonly listWaiting: WaitingList
  readonly now: () => Date
}
