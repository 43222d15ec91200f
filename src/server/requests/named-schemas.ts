import * as z from 'zod'
import * as catalogue from '../../protocol/catalogue.ts'
import * as flows from '../../protocol/flow.ts'
import { errorInfo } from '../../protocol/problem.ts'
import { serviceReport } from '../../protocol/service.ts'
import { sharingPolicy } from '../../protocol/sharing.ts'
import { ticket } from '../../protocol/socket.ts'
import * as threads from '../../protocol/thread.ts'
import { flowUpdate } from '../../protocol/update.ts'
import * as waiting from '../../protocol/waiting.ts'

/**
 * Schemas that the OpenAPI document defines once, under these names, and refers to everywhere else. An interface adds
 * the schemas of its own wire format.
 */
export const namedSchemas = z.registry<{ id?: string; title?: string }>()
const NAMES: Readonly<Record<string, z.ZodType>> = {
  Usage: flows.usage,
  SharingDecision: flows.sharingDecision,
  StepResult: flows.stepResult,
  FlowResult: flows.flowResult,
  Flow: flows.flow,
  FlowSummary: flows.flowSummary,
  FlowPage: flows.flowPage,
  FlowStatusReport: flows.flowStatusReport,
  FlowCheck: flows.flowCheck,
  FlowUpdate: flowUpdate,
  WaitingStep: waiting.waitingStep,
  WaitingPage: waiting.waitingPage,
  StepDecision: waiting.stepDecision,
  ErrorInfo: errorInfo,
  Thread: threads.thread,
  ThreadPage: threads.threadPage,
  Message: threads.message,
  MessagePage: threads.messagePage,
  ThreadPermission: threads.threadPermission,
  Template: catalogue.template,
  Provider: catalogue.provider,
  ProviderHealth: catalogue.providerHealth,
  UsageReport: catalogue.usageReport,
  SharingPolicy: sharingPolicy,
  ServiceReport: serviceReport,
  Ticket: ticket,
}
for (const [id, schema] of Object.entries(NAMES)) namedSchemas.add(schema, { id })
// openapi.ts replaces every schema of this title by a reference to the JSON Schema of definitions.
namedSchemas.add(flows.definitionData, { title: 'FlowDefinition' })
