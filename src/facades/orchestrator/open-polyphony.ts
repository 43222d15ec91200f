import type { ConversationService } from '../../conversations/conversation-service.ts'
import type { FunctionDirectory } from '../../orchestrator/operations/function-directory.ts'
import type { OrchestratorService } from '../../orchestrator/orchestrator-service.ts'
import type { DataSharingService } from '../../policies/policy.ts'
import type { ProviderService } from '../../providers/provider.ts'
import type { EventsPort } from './events/event-dispatcher.ts'

/** What an orchestrator uses of a Polyphony. */
export interface OpenPolyphony {
  readonly orchestrator: OrchestratorService
  readonly conversations: ConversationService
  readonly providers: ProviderService
  readonly functions: FunctionDirectory
  readonly dataSharing: DataSharingService
  readonly events?: EventsPort
  engineHealth(): Promise<unknown>
  close(): Promise<void>
}
