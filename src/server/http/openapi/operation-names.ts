import * as z from 'zod'
import * as catalogue from '../../../protocol/catalogue.ts'
import * as flows from '../../../protocol/flow.ts'
import { errorInfo } from '../../../protocol/problem.ts'
import { sharingPolicy } from '../../../protocol/sharing.ts'
import { ticket } from '../../../protocol/socket.ts'
import * as threads from '../../../protocol/thread.ts'
import { flowUpdate } from '../../../protocol/update.ts'

/** Names of operations, from which generated clients take those of their functions: they must not change. */
export const OPERATION_IDS: Readonly<Record<string, string>> = {
  'GET /livez': 'getLiveness',
  'GET /readyz': 'getReadiness',
  'GET /health': 'getHealth',
  'GET /metrics': 'getMetrics',
  'GET /api/v1/me': 'getMe',
  'GET /api/v1/usage': 'getUsage',
  'POST /api/v1/tickets': 'createTicket',
  'GET /api/v1/templates': 'listTemplates',
  'GET /api/v1/templates/:name': 'getTemplate',
  'POST /api/v1/templates/:name/instantiate': 'instantiateTemplate',
  'GET /api/v1/providers': 'listProviders',
  'GET /api/v1/providers/:providerId': 'getProvider',
  'GET /api/v1/providers/:providerId/health': 'getProviderHealth',
  'GET /api/v1/data-sharing': 'listSharingPolicies',
  'GET /api/v1/data-sharing/:providerKey': 'getSharingPolicy',
  'PUT /api/v1/data-sharing/:providerKey': 'setSharingPolicy',
  'DELETE /api/v1/data-sharing/:providerKey': 'deleteSharingPolicy',
  'POST /api/v1/threads': 'createThread',
  'GET /api/v1/threads': 'listThreads',
  'GET /api/v1/threads/:threadId': 'getThread',
  'DELETE /api/v1/threads/:threadId': 'deleteThread',
  'POST /api/v1/threads/:threadId/messages': 'addMessage',
  'GET /api/v1/threads/:threadId/messages': 'listMessages',
  'GET /api/v1/threads/:threadId/permissions': 'listPermissions',
  'PUT /api/v1/threads/:threadId/permissions/:userId': 'setPermission',
  'POST /api/v1/flows': 'createFlow',
  'GET /api/v1/flows': 'listFlows',
  'POST /api/v1/flows/check': 'checkFlow',
  'GET /api/v1/flows/:flowId': 'getFlow',
  'DELETE /api/v1/flows/:flowId': 'deleteFlow',
  'GET /api/v1/flows/:flowId/status': 'getFlowStatus',
  'GET /api/v1/flows/:flowId/updates': 'followFlow',
  'POST /api/v1/flows/:flowId/execute': 'executeFlow',
  'POST /api/v1/flows/:flowId/steps/:stepId/execute': 'executeStep',
  'POST /api/v1/flows/:flowId/cancel': 'cancelFlow',
  'POST /api/v1/flows/:flowId/rerun': 'rerunFlow',
  'GET /v1/models': 'listModels',
  'GET /v1/models/*': 'getModel',
  'POST /v1/chat/completions': 'createChatCompletion',
  'POST /v1/responses': 'createResponse',
  'GET /v1/responses/:responseId': 'getResponse',
  'POST /v1/responses/:responseId/cancel': 'cancelResponse',
}

/** What the groups of operations are about. */
export const TAGS: Readonly<Record<string, string>> = {
  flows: 'Stored definitions with what came of them.',
  executions: 'Running flows: start, follow, cancel.',
  threads: 'Conversations with their messages, and who may use them.',
  templates: 'Definitions that are made from a few parameters.',
  providers: 'What is configured, and how it is doing.',
  'data sharing': 'Which provider may see what.',
  models: 'The API of OpenAI: saved flows and templates are its models.',
  usage: 'What was used and what it cost.',
  caller: 'Who calls, and tickets for sockets.',
  health: 'For probes and monitoring.',
}

/** Schemas that stand once in the description, under these names. */
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
  Ticket: ticket,
}
for (const [id, schema] of Object.entries(NAMES)) namedSchemas.add(schema, { id })
// Its schema is put in as a whole, in the place of its title.
namedSchemas.add(flows.definitionData, { title: 'FlowDefinition' })
