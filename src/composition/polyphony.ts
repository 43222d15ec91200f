import type { PolyphonyConfig } from '../config/config.ts'
import type { ConversationService } from '../conversations/conversation-service.ts'
import type { FileService } from '../conversations/file-service.ts'
import type { JsonSchema } from '../domain/execution/model-call.ts'
import type { AgentDirectory } from '../orchestrator/agents/agent-directory.ts'
import type { BudgetService } from '../orchestrator/budgets/budget-service.ts'
import type { EventService } from '../orchestrator/events/event-service.ts'
import type { UsageService } from '../orchestrator/flows/usage-service.ts'
import type { FunctionDirectory } from '../orchestrator/operations/function-directory.ts'
import type { OrchestratorService } from '../orchestrator/orchestrator-service.ts'
import type { ScheduleService } from '../orchestrator/schedules/schedule-service.ts'
import type { WebhookService } from '../orchestrator/webhooks/webhook-service.ts'
import type { ApiKeyService, DataSharingService, PermissionService } from '../policies/policy.ts'
import type { ProviderService } from '../providers/provider.ts'
import type { IdempotencyRepository, RequestCountRepository, TicketRepository } from '../repositories/repository.ts'
import type { Services } from '../services/service.ts'
import type { Telemetry } from '../telemetry/telemetry.ts'
import type { QueueHealth } from './create-queue-health.ts'

/** One instance: everything that a backend needs, over one database. */
export interface Polyphony {
  readonly orchestrator: OrchestratorService
  /** Named agents, which steps name as `agent` or choose by what they need. */
  readonly agents: AgentDirectory
  /** Functions that steps run, models call as tools, and definitions name in place of code. */
  readonly functions: FunctionDirectory
  readonly conversations: ConversationService
  /** Files of users, to which messages and executions refer. */
  readonly files: FileService
  readonly permissions: PermissionService
  readonly dataSharing: DataSharingService
  readonly providers: ProviderService
  /** Usage and cost of a user's flows. */
  readonly usage: UsageService
  /** What is spent and left of the budgets of `config.budgets`. */
  readonly budgets: BudgetService
  /** API keys, with which the server authenticates users. */
  readonly apiKeys: ApiKeyService
  /** Single-use tickets of the server, for browsers that open a WebSocket; expired ones are removed automatically. */
  readonly tickets: TicketRepository
  /** Idempotent requests to the server with their answers; kept for a day. */
  readonly idempotency: IdempotencyRepository
  /** Webhooks of the configuration with their secrets and the state of their deliveries; for operators only. */
  readonly webhooks: WebhookService
  /** Schedules of the configuration with their last and next runs. */
  readonly schedules: ScheduleService
  /** Programs, addresses and code of this process that are started, watched and started again; built at first use. */
  readonly services: Services
  /** Requests to all servers that share the database; absent where each server counts its own. */
  readonly requestCounts?: RequestCountRepository
  /** The event log of all processes, and its handlers in this one; with the rights of the operator. */
  readonly events: EventService
  readonly telemetry: Telemetry
  readonly config: PolyphonyConfig
  /** JSON Schema of a definition as data, with the settings of every flow type. */
  definitionSchema(): JsonSchema
  /**
   * Resumes flows of dead processes that were started with `resumeAfterCrash`, and takes queued flows of other
   * processes, from now on. Resolves when the flows found so far run again or are queued.
   */
  resumeInterrupted(): Promise<void>
  /** The engine of this process and the queue of all processes. Reads the whole queue: call it for probes only. */
  engineHealth(): Promise<QueueHealth>
  /**
   * Starts the flows of schedules, and sends webhooks, from now on. Servers and workers call it; any other process
   * sends webhooks once it has started a flow, and starts no flow of a schedule.
   */
  startBackgroundWork(): void
  /**
   * Ends running flows (they stay resumable), writes pending updates, releases the database. Safe to call twice. With
   * `handOver` flows are not ended but left to other processes that share the database: their calls in flight may end
   * within `graceMs`, and no new one begins. Without it running flows may end by themselves within `graceMs`; default
   * 0.
   */
  close(options?: { readonly handOver?: boolean; readonly graceMs?: number }): Promise<void>
}
