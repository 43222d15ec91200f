import type { PolyphonyConfig, PolyphonyConfigInput } from '../config/config.ts'
import type { ConversationService } from '../conversations/conversation-service.ts'
import type { DefinitionParser } from '../domain/definition/parser.ts'
import type { UsageService } from '../orchestrator/flows/usage-service.ts'
import type { OrchestratorService } from '../orchestrator/orchestrator-service.ts'
import type { ApiKeyService, DataSharingService, PermissionService } from '../policies/policy.ts'
import type { ModelNames, ProviderService } from '../providers/provider.ts'
import type { Terminal } from './terminal.ts'

/** What commands need of an opened Polyphony. */
export interface OpenServices {
  readonly orchestrator: OrchestratorService
  readonly conversations: ConversationService
  readonly permissions: PermissionService
  readonly dataSharing: DataSharingService
  readonly providers: ProviderService
  readonly apiKeys: ApiKeyService
  readonly usage: UsageService
  readonly config: PolyphonyConfig
  close(): Promise<void>
}

/** What serves flows as tools to the program that started this one. */
export interface ToolServing {
  /** Opens what tools work on; asked at every call. */
  readonly open: () => Promise<OpenServices>
  readonly version: string
  /** Ends the serving. */
  readonly signal: AbortSignal
  /** Takes lines for people; stdout belongs to the protocol. */
  readonly warn: (text: string) => void
}

/** The keys that main.ts passes on; each loads what it needs when it is used. */
export interface Services {
  /** Reads the configuration with these values over everything else, opens the database, builds everything. */
  open(flags: PolyphonyConfigInput): Promise<OpenServices>
  /** The configuration alone. */
  loadConfig(flags: PolyphonyConfigInput): Promise<PolyphonyConfig>
  createParser(agents: PolyphonyConfig['agents']): Promise<DefinitionParser>
  /** Names of the migrations that were applied. */
  migrate(database: PolyphonyConfig['database']): Promise<readonly string[]>
  /** Starts a server that owns everything it needs. */
  serve(flags: PolyphonyConfigInput): Promise<RunningServer>
  /** Speaks MCP over stdin and stdout until the client closes its end, or the signal says so. */
  serveTools(serving: ToolServing): Promise<void>
  /** What the bundled lists say about the names of models. */
  modelNames(prices: PolyphonyConfig['prices']): Promise<ModelNames>
  /** Day of the bundled price list. */
  pricesDate(): Promise<string>
}

/** What the command line needs of a server. */
export interface RunningServer {
  readonly url: string
  /** Nobody has a key. */
  readonly isOpen: boolean
  close(): Promise<void>
}

/** What every command gets. */
export interface CommandContext {
  readonly house: Services
  readonly terminal: Terminal
  /** One JSON object per line on stdout and nothing else. */
  readonly json: boolean
}

/** Options that every command with a database takes. */
export interface DatabaseOptions {
  readonly database?: string
}

/** Who runs flows at the command line. */
export const LOCAL_USER = 'local'
/** Who runs the demo: what is allowed there is allowed to the simulator only. */
export const DEMO_USER = 'demo'

export const toFlags = ({ database }: DatabaseOptions): PolyphonyConfigInput => (database === undefined ? {} : { database })

/** Opens the house for one piece of work and closes it whatever happens. */
export async function withServices<Value>(
  { house }: CommandContext,
  flags: PolyphonyConfigInput,
  work: (open: OpenServices) => Promise<Value>,
): Promise<Value> {
  const open = await house.open(flags)
  try {
    return await work(open)
  } finally {
    await open.close()
  }
}
