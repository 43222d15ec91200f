import type { PolyphonyConfig, PolyphonyConfigInput } from '../config/config.ts'
import type { ConversationService } from '../conversations/conversation-service.ts'
import type { DefinitionParser } from '../domain/definition/parser.ts'
import type { BudgetService } from '../orchestrator/budgets/budget-service.ts'
import type { EventService } from '../orchestrator/events/event-service.ts'
import type { UsageService } from '../orchestrator/flows/usage-service.ts'
import type { OrchestratorService } from '../orchestrator/orchestrator-service.ts'
import type { ScheduleService } from '../orchestrator/schedules/schedule-service.ts'
import type { WebhookService } from '../orchestrator/webhooks/webhook-service.ts'
import type { ApiKeyService, DataSharingService, PermissionService } from '../policies/policy.ts'
import type { ModelNames, ProviderService } from '../providers/provider.ts'
import type { Services as ServiceRegistry } from '../services/service.ts'
import type { Terminal } from './terminal.ts'

/** The services of an opened Polyphony that commands use. */
export interface OpenServices {
  readonly orchestrator: OrchestratorService
  readonly conversations: ConversationService
  readonly permissions: PermissionService
  readonly dataSharing: DataSharingService
  readonly providers: ProviderService
  readonly apiKeys: ApiKeyService
  readonly usage: UsageService
  readonly webhooks: WebhookService
  readonly schedules: ScheduleService
  readonly budgets: BudgetService
  readonly services: ServiceRegistry
  readonly events: EventService
  readonly config: PolyphonyConfig
  /** Takes queued flows of other processes, and resumes those of dead ones, from now on. */
  resumeInterrupted(): Promise<void>
  /** Starts the flows of schedules, and sends webhooks, from now on. */
  startBackgroundWork(): void
  /** The engine of this process and the queue of all processes. */
  engineHealth(): Promise<{
    readonly engine: string
    readonly ok: boolean
    readonly running: number
    readonly queued: number
    /** Flows of all users that run in any process or are queued for one. */
    readonly active: number
    readonly problem?: string
    /** Queued flows that this process cannot run, by their definitions. */
    readonly unrunnable: readonly { readonly name: string; readonly version?: string; readonly flows: number }[]
  }>
  close(options?: { readonly handOver?: boolean; readonly graceMs?: number }): Promise<void>
}

/** How to serve flows as tools over stdin and stdout. */
export interface ToolServing {
  /** Opens the services of the tools; called at every call of a tool, so it must return the same services each time. */
  readonly open: () => Promise<OpenServices>
  readonly version: string
  /** Ends the serving. */
  readonly signal: AbortSignal
  /** Receives lines for people; stdout belongs to the protocol. */
  readonly warn: (text: string) => void
}

/** Receives the text of an export and resolves when all of it is written. */
export type ExportSink = (chunks: AsyncIterable<string>) => Promise<void>

/** Entries to the rest of Polyphony, given by main.ts. Each function imports the modules it needs when it is called. */
export interface CommandServices {
  /** Loads the configuration with `flags` above all other sources, opens the database and builds the services. */
  open(flags: PolyphonyConfigInput): Promise<OpenServices>
  /** Loads the configuration and opens nothing. */
  loadConfig(flags: PolyphonyConfigInput): Promise<PolyphonyConfig>
  /** The parser of definitions with the agents of a configuration; without one, only with those that are built in. */
  createParser(config?: Pick<PolyphonyConfig, 'agents' | 'providers' | 'simulator'>): Promise<DefinitionParser>
  /**
   * Applies pending migrations of the tables and of the engine, or only finds them if `check` is set. Resolves with
   * their names.
   */
  migrate(config: PolyphonyConfig, options: { readonly check: boolean }): Promise<readonly string[]>
  /** Writes all data of a database to the sink; resolves with the number of rows by kind. */
  exportData(config: PolyphonyConfig, sink: ExportSink, includeRunning: boolean): Promise<Readonly<Record<string, number>>>
  /** Reads what `exportData` has written into a database; resolves with the counts by kind. */
  importData(
    config: PolyphonyConfig,
    chunks: AsyncIterable<Uint8Array>,
  ): Promise<Readonly<Record<string, { readonly imported: number; readonly skipped: number }>>>
  /**
   * Starts a server, which opens and closes its own services. They are passed to the default export of the module
   * `register`, as `register` below does.
   */
  serve(flags: PolyphonyConfigInput, options?: ServeRequest): Promise<RunningServer>
  /** Checks the service files and what they need of this machine; starts nothing. */
  checkServices(config: PolyphonyConfig): Promise<readonly ServiceFinding[]>
  /** Ends services that a killed server left behind. Rejects with SERVICES_OWNED_ELSEWHERE while a server runs. */
  endOrphans(config: PolyphonyConfig): Promise<readonly LeftService[]>
  /** Passes the services to the default export of a module, which registers definitions with functions. */
  register(modulePath: string, open: OpenServices): Promise<void>
  /** Answers GET /health on `port` at the host of the configuration, as a server does. */
  listenForHealth(open: OpenServices, port: number): Promise<{ readonly url: string; close(): Promise<void> }>
  /** Serves MCP over stdin and stdout until the client closes its end or the signal aborts. */
  serveTools(serving: ToolServing): Promise<void>
  /** The bundled lists of model names, against which the names in a configuration are checked. */
  modelNames(prices: PolyphonyConfig['prices']): Promise<ModelNames>
  /** Date of the bundled price list, such as 2026-11-20. */
  pricesDate(): Promise<string>
}

export interface ServeRequest {
  /** Module whose default export registers definitions with functions. */
  readonly register?: string
  /** Whether `polyphony up` started the process, so that its log is a file. */
  readonly background?: boolean
}

/** One result of the check of service files. */
export interface ServiceFinding {
  /** Id of the service, or path of the file. */
  readonly service: string
  readonly ok: boolean
  readonly warning?: boolean
  readonly message: string
}

/** What became of a service that a killed server left behind. */
export interface LeftService {
  readonly id: string
  readonly outcome: string
  readonly pids: readonly number[]
}

/** A server that was started by `serve`. */
export interface RunningServer {
  readonly url: string
  /** True while there is no API key, so that every local request is accepted. */
  readonly isOpen: boolean
  /** Reads the service files again and restarts services whose files have changed. */
  reload(): Promise<void>
  close(): Promise<void>
}

/** Passed to every command. */
export interface CommandContext {
  readonly services: CommandServices
  readonly terminal: Terminal
  /** Whether `--json` was given: stdout then carries one JSON object per line and nothing else. */
  readonly json: boolean
}

/** Options of every command that opens the database. */
export interface DatabaseOptions {
  readonly database?: string
}

/** The user that runs flows at the command line. */
export const LOCAL_USER = 'local'
/** The user that runs the demo. Its data-sharing policies count for simulated runs only. */
export const DEMO_USER = 'demo'

export const toFlags = ({ database }: DatabaseOptions): PolyphonyConfigInput => (database === undefined ? {} : { database })

/** Opens the services for `work`, which runs no flows, and closes them when it settles. */
export const withServices = <Value>(
  context: CommandContext,
  flags: PolyphonyConfigInput,
  work: (open: OpenServices) => Promise<Value>,
): Promise<Value> => withRunningServices(context, { ...flags, takesFlows: false }, work)

/** Opens the services for `work`, which may run flows, and closes them when it settles. */
export async function withRunningServices<Value>(
  { services }: CommandContext,
  flags: PolyphonyConfigInput,
  work: (open: OpenServices) => Promise<Value>,
): Promise<Value> {
  const open = await services.open(flags)
  try {
    return await work(open)
  } finally {
    await open.close()
  }
}
