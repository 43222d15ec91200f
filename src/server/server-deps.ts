import type { PolyphonyConfig } from '../config/config.ts'
import type { ConversationService } from '../conversations/conversation-service.ts'
import type { FileService } from '../conversations/file-service.ts'
import type { JsonSchema } from '../domain/execution/model-call.ts'
import type { AgentDirectory } from '../orchestrator/agents/agent-directory.ts'
import type { BudgetService } from '../orchestrator/budgets/budget-service.ts'
import type { EventService } from '../orchestrator/events/event-service.ts'
import type { UsageService } from '../orchestrator/flows/usage-service.ts'
import type { OrchestratorService } from '../orchestrator/orchestrator-service.ts'
import type { ApiKeyService, DataSharingService, PermissionService } from '../policies/policy.ts'
import type { ProviderService } from '../providers/provider.ts'
import type { IdempotencyRepository, RequestCountRepository, TicketRepository } from '../repositories/repository.ts'
import type { Services } from '../services/service.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'

/** State of the engine and its queue, as health routes show it. */
export interface EngineReport {
  readonly engine: string
  readonly ok: boolean
  readonly running: number
  readonly queued: number
  /** Flows of all users that run in any process or are queued for one. */
  readonly active: number
  readonly problem?: string
  readonly unrunnable: readonly {
    readonly name: string
    readonly version?: string
    readonly newerVersion?: number
    readonly flows: number
  }[]
}

/** Services and settings that the server needs. An open Polyphony provides them. */
export interface ServerDeps {
  readonly orchestrator: OrchestratorService
  readonly agents: AgentDirectory
  readonly conversations: ConversationService
  readonly files: FileService
  readonly permissions: PermissionService
  readonly dataSharing: DataSharingService
  readonly providers: ProviderService
  readonly apiKeys: ApiKeyService
  readonly tickets: TicketRepository
  readonly idempotency: IdempotencyRepository
  /** Absent where each server counts its own requests. */
  readonly requestCounts?: RequestCountRepository
  readonly usage: UsageService
  readonly budgets: BudgetService
  readonly events: EventService
  readonly services: Services
  readonly telemetry: Telemetry
  readonly config: PolyphonyConfig
  /** The engine of this process and the queue of all processes. */
  engineHealth(): Promise<EngineReport>
  /** JSON Schema of flow definitions, for the OpenAPI document. */
  definitionSchema(): JsonSchema
}
