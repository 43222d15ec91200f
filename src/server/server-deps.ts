import type { PolyphonyConfig } from '../config/config.ts'
import type { ConversationService } from '../conversations/conversation-service.ts'
import type { JsonSchema } from '../domain/execution/model-call.ts'
import type { BudgetService } from '../orchestrator/budgets/budget-service.ts'
import type { UsageService } from '../orchestrator/flows/usage-service.ts'
import type { OrchestratorService } from '../orchestrator/orchestrator-service.ts'
import type { ApiKeyService, DataSharingService, PermissionService } from '../policies/policy.ts'
import type { ProviderService } from '../providers/provider.ts'
import type { IdempotencyRepository, RequestCountRepository, TicketRepository } from '../repositories/repository.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'

/** Services and settings that the server needs. An open Polyphony provides them. */
export interface ServerDeps {
  readonly orchestrator: OrchestratorService
  readonly conversations: ConversationService
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
  readonly telemetry: Telemetry
  readonly config: PolyphonyConfig
  /** JSON Schema of flow definitions, for the OpenAPI document. */
  definitionSchema(): JsonSchema
}
