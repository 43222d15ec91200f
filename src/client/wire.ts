import type * as z from 'zod'
import type { FlowDefinitionInput } from '../domain/definition/flow-definition.ts'
import type { Executor } from '../executors/executor.ts'
import type {
  budgetReports,
  instantiated,
  me,
  provider,
  providerHealth,
  providers,
  template,
  templates,
  usageQuery,
  usageReport,
} from '../protocol/catalogue.ts'
import type { event, eventList, eventsQuery, publishedEvent } from '../protocol/event.ts'
import type { file, fileListQuery, filePage, newFileQuery } from '../protocol/file.ts'
import type {
  execution,
  flow,
  flowCheck,
  flowListQuery,
  flowPage,
  flowResult,
  flowStatusReport,
  flowSummary,
  rerun,
  stepExecution,
  stepResult,
} from '../protocol/flow.ts'
import type { problem } from '../protocol/problem.ts'
import type { newSharingPolicy, sharingPolicies, sharingPolicy } from '../protocol/sharing.ts'
import type { ticket } from '../protocol/socket.ts'
import type {
  message,
  messageListQuery,
  messagePage,
  newMessage,
  newPermission,
  newThread,
  thread,
  threadListQuery,
  threadPage,
  threadPermission,
  threadPermissions,
} from '../protocol/thread.ts'
import type {
  eventDelivery,
  newEvent,
  stepAnswer,
  stepDecision,
  waitingListQuery,
  waitingPage,
  waitingStep,
} from '../protocol/waiting.ts'

/** A request body with every part read-only, so that callers may pass read-only values. */
type Given<T> = T extends readonly (infer Item)[]
  ? readonly Given<Item>[]
  : T extends object
    ? { readonly [Key in keyof T]: Given<T[Key]> }
    : T

export type Me = z.input<typeof me>

export type NewThread = Given<z.input<typeof newThread>>
export type StoredFile = z.input<typeof file>
export type FilePage = z.input<typeof filePage>
export type FileListQuery = z.output<typeof fileListQuery>
export type NewFileQuery = z.output<typeof newFileQuery>
export type Thread = z.input<typeof thread>
export type ThreadPage = z.input<typeof threadPage>
export type ThreadListQuery = z.output<typeof threadListQuery>
export type NewMessage = Given<z.input<typeof newMessage>>
export type Message = z.input<typeof message>
export type MessagePage = z.input<typeof messagePage>
export type MessageListQuery = z.output<typeof messageListQuery>
export type ThreadRights = Given<z.input<typeof newPermission>>['rights']
export type ThreadPermission = z.input<typeof threadPermission>
export type ThreadPermissions = z.input<typeof threadPermissions>

export type NewSharingPolicy = Given<z.input<typeof newSharingPolicy>>
export type SharingPolicy = z.input<typeof sharingPolicy>
export type SharingPolicies = z.input<typeof sharingPolicies>

// Taken from the contract of executors, so that the declarations of the client contain the settings of each flow type.
export type FlowType = Executor['type']

/** Either a definition as data, or a template with its parameters. */
export type DefinitionSource =
  | { readonly definition: FlowDefinitionInput; readonly template?: never; readonly parameters?: never }
  | { readonly template: string; readonly parameters?: Readonly<Record<string, unknown>>; readonly definition?: never }
export type NewFlow = DefinitionSource & { readonly threadId: string }
export type Flow = z.input<typeof flow>
export type FlowSummary = z.input<typeof flowSummary>
export type FlowPage = z.input<typeof flowPage>
export type FlowListQuery = z.output<typeof flowListQuery>
export type FlowCheck = z.input<typeof flowCheck>
export type FlowResult = z.input<typeof flowResult>
export type FlowStatusReport = z.input<typeof flowStatusReport>
export type StepResult = z.input<typeof stepResult>
export type Execution = Given<z.input<typeof execution>>
export type StepExecution = Given<z.input<typeof stepExecution>>
export type StepAnswer = Given<z.input<typeof stepAnswer>>
export type StepDecision = z.input<typeof stepDecision>
export type NewEvent = Given<z.input<typeof newEvent>>
export type EventDelivery = z.input<typeof eventDelivery>
export type LogEvent = z.input<typeof event>
export type LogEventList = z.input<typeof eventList>
/** Which events a list gives. `type`: one or several, each of which may be a beginning with `*` behind it. */
export type LogEventQuery = Partial<Omit<z.output<typeof eventsQuery>, 'type'>> & { readonly type?: string | readonly string[] }
export type NewLogEvent = Given<z.input<typeof publishedEvent>>
export type WaitingStep = z.input<typeof waitingStep>
export type WaitingPage = z.input<typeof waitingPage>
export type WaitingListQuery = z.output<typeof waitingListQuery>
export type Rerun = Given<z.input<typeof rerun>>

export type Template = z.input<typeof template>
export type Templates = z.input<typeof templates>
/** A definition created from a template. It may be changed and passed to `flows.create`. */
export type Instantiated = Omit<z.input<typeof instantiated>, 'definition'> & { definition: FlowDefinitionInput }
export type Provider = z.input<typeof provider>
export type Providers = z.input<typeof providers>
export type ProviderHealth = z.input<typeof providerHealth>

export type UsageQuery = Given<z.output<typeof usageQuery>>
export type BudgetReports = z.input<typeof budgetReports>
export type UsageReport = z.input<typeof usageReport>

export type Ticket = z.input<typeof ticket>
export type WireProblem = z.input<typeof problem>

export type { WorkflowReport, WorkflowStatus, WorkflowTask } from '../protocol/workflow.ts'
