import { createBudgets, createDataSharing, createMe, createProviders, createTemplates, createUsage } from './catalogue.ts'
import type { ClientOptions } from './client-options.ts'
import { createEventLog } from './events.ts'
import { createFiles } from './files.ts'
import { createFlows } from './flows.ts'
import { createTransport } from './http/transport.ts'
import { createSocket, type PolyphonySocket, type SocketOptions } from './socket/socket.ts'
import { createMessages, createPermissions, createThreads } from './threads.ts'
import { createWaits } from './waiting.ts'

export type { FlowDefinitionInput } from '../domain/definition/flow-definition.ts'
/** Exported so that the types of the package contain the settings that every executor adds to `FlowTypeSettings`. */
export type { executors as FlowTypeExecutors } from '../executors/registry.ts'
export type { WireUpdate as FlowUpdate } from '../protocol/update.ts'
export type { ClientOptions, OutgoingRequest } from './client-options.ts'
export type { EventStreamOptions } from './events.ts'
export type { WaitOptions } from './flows.ts'
export type { CallOptions, KeyedCallOptions } from './http/transport.ts'
export { type ClientErrorCode, PolyphonyError, type PolyphonyErrorCode } from './polyphony-error.ts'
export type { PolyphonySocket, SocketOptions } from './socket/socket.ts'
export type { SocketConstructor, SocketEvent, SocketLike } from './socket/web-socket.ts'
export type { FollowOptions, Reconnection } from './stream-flow.ts'
export { SwarmInterface, type WorkflowListQuery, type WorkflowServiceHealth } from './swarm.ts'
export type {
  BudgetReports,
  DefinitionSource,
  EventDelivery,
  Execution,
  FileListQuery,
  FilePage,
  Flow,
  FlowCheck,
  FlowListQuery,
  FlowPage,
  FlowResult,
  FlowStatusReport,
  FlowSummary,
  FlowType,
  Instantiated,
  LogEvent,
  LogEventList,
  LogEventQuery,
  Me,
  Message,
  MessageListQuery,
  MessagePage,
  NewEvent,
  NewFileQuery,
  NewFlow,
  NewLogEvent,
  NewMessage,
  NewSharingPolicy,
  NewThread,
  Provider,
  ProviderHealth,
  Providers,
  Rerun,
  SharingPolicies,
  SharingPolicy,
  StepAnswer,
  StepDecision,
  StepExecution,
  StepResult,
  StoredFile,
  Template,
  Templates,
  Thread,
  ThreadListQuery,
  ThreadPage,
  ThreadPermission,
  ThreadPermissions,
  ThreadRights,
  UsageQuery,
  UsageReport,
  WaitingListQuery,
  WaitingPage,
  WaitingStep,
  WorkflowReport,
  WorkflowStatus,
  WorkflowTask,
} from './wire.ts'
export {
  type BuiltWorkflow,
  type CustomAgent,
  createAgent,
  type NewAgentFields,
  WorkflowBuilder,
  type WorkflowInput,
  type WorkflowTaskInput,
  WorkflowType,
} from './workflows/workflow-builder.ts'
export { type PatternTask, WorkflowPatterns } from './workflows/workflow-patterns.ts'

/**
 * Creates a client of a Polyphony server, for browsers and Node. Results are the JSON of the server, so instants are
 * ISO 8601 text.
 *
 * Calls reject with a PolyphonyError, or with the reason of their `signal`. GET requests and calls with an
 * Idempotency-Key (creating, executing, rerunning, deciding) are repeated when the network fails and on 429, 502, 503
 * and 504; other calls are sent once.
 *
 * Throws INPUT_INVALID for an invalid address and for a key together with a token.
 *
 * ```ts
 * import { createClient } from 'polyphony/client'
 *
 * const client = createClient({ baseUrl: 'http://127.0.0.1:4100', apiKey: process.env.POLYPHONY_API_KEY })
 * const thread = await client.threads.create()
 * const flow = await client.flows.create({ threadId: thread.id, template: 'critique' })
 * for await (const update of client.flows.follow(flow.id)) console.log(update.type)
 * ```
 */
export function createClient(options: ClientOptions) {
  const transport = createTransport(options)
  return {
    threads: createThreads(transport),
    messages: createMessages(transport),
    files: createFiles(transport),
    permissions: createPermissions(transport),
    dataSharing: createDataSharing(transport),
    flows: createFlows(transport),
    waiting: createWaits(transport),
    events: createEventLog(transport),
    templates: createTemplates(transport),
    providers: createProviders(transport),
    usage: createUsage(transport),
    budgets: createBudgets(transport),
    me: createMe(transport),
    /** One WebSocket for many flows, opened at the first use. Must be closed when it is no longer needed. */
    socket: (socketOptions?: SocketOptions): PolyphonySocket => createSocket({ ...options, transport }, socketOptions),
  }
}

/** A client, as `createClient` returns it. */
export type PolyphonyClient = ReturnType<typeof createClient>
