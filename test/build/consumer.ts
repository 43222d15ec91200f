/**
 * The program of a user, in the shapes that the documents use. It is compiled under `strict` without `skipLibCheck` against the packed
 * package, and run on the simulator, by packed-package.system.test.ts.
 */
import type { ContextPolicy, FlowError, FlowExecutionResult, StepContext, TokenUsage } from 'polyphony'
import { type FlowTemplateName, getFlowTemplate } from 'polyphony/flow-templates'
import {
  type ConversationMessage,
  conversationService,
  createComparisonFlow,
  createConditionalRoutingFlow,
  createConsensusFlow,
  createCritiqueFlow,
  createPolyphony,
  createQualityAssuranceFlow,
  createRefinementFlow,
  createScriptedProvider,
  createSequentialAnalysisFlow,
  type DataSharingPolicy,
  dataSharingService,
  type FlowDefinition,
  type FlowStep,
  type FlowStepResult,
  type FlowStreamUpdate,
  type OrchestrationFlow,
  OrchestrationFlowStatus,
  OrchestrationFlowType,
  type OrchestrationStepResult,
  OrchestrationStepStatus,
  OrchestratorError,
  type OrchestratorService,
  orchestratorService,
  type PermissionService,
  type ProviderService,
  StepAction,
  type TimeoutConfig,
} from 'polyphony/orchestrator.index'
import type { PolyphonyServer } from 'polyphony/server'

const contextPolicy: ContextPolicy = {
  shareConversationHistory: false,
  shareStepOutputs: true,
  maxSharedTokens: 5_000,
  includeOriginalPrompt: true,
  preserveSystemPrompts: false,
}
const timeout: TimeoutConfig = { flow: 60_000, step: 30_000 }

const answered = (context: StepContext): boolean => context.previousStepOutput !== undefined
const steps: FlowStep[] = [
  {
    id: 'score',
    provider: 'openai',
    model: 'gpt-5.4',
    action: StepAction.ANALYZE,
    prompt: (context) => `Rate ${context.originalPrompt} for ${context.metadata.reader.name}`,
    settings: { temperature: 0.3, maxTokens: 200, topP: 0.9, stopSequences: ['END'] },
    retryOnFailure: true,
    maxRetries: 3,
    timeout: 30_000,
  },
  {
    id: 'counted',
    provider: 'openai',
    model: 'gpt-5.4',
    action: 'generate',
    prompt: async (context) => `Go on from ${context.previousStepOutput.slice(0, 20)}`,
    condition: (context) => Number.isNaN(parseFloat(context.previousStepOutput)),
    inputFrom: 'score',
  },
  {
    id: 'matched',
    provider: 'openai',
    model: 'gpt-5.4',
    action: 'refine',
    prompt: 'original',
    condition: (context) => context.previousStepOutput?.match(/\w+/),
  },
  {
    id: 'undefined',
    provider: 'openai',
    model: 'gpt-5.4',
    action: 'refine',
    prompt: 'original',
    condition: (context) => context.allStepResults.find((result) => result.stepId === 'nobody')?.output?.includes('x'),
  },
  { id: 'late', provider: 'openai', model: 'gpt-5.4', action: 'validate', prompt: 'original', condition: async () => 0 },
  { id: 'last', provider: 'openai', model: 'gpt-5.4', action: 'summarize', prompt: 'original', condition: answered },
]
const definition: FlowDefinition = {
  name: 'A program of a user',
  type: OrchestrationFlowType.SEQUENTIAL,
  steps,
  contextPolicy,
  maxExecutionTime: 60_000,
  onStepComplete: (result: FlowStepResult) =>
    console.log(`${result.stepId}: $${result.cost?.toFixed(4)} of ${result.usage?.totalTokens}`),
  onFlowComplete: (result: FlowExecutionResult) => console.log(result.totalCost.toFixed(4)),
  onError: (error: FlowError) => console.error(error.code, error.message),
}

// Definitions may be built up and changed, those of templates too.
const changed: FlowDefinition = createCritiqueFlow()
changed.onStepComplete = (step: FlowStepResult): void => console.log(step.stepId)
changed.steps.push({ id: 'after', provider: 'openai', model: 'gpt-5.4', action: StepAction.SUMMARIZE, prompt: 'original' })
// Functions that were written for plain arrays and records take what they are given.
const spent = (results: FlowStepResult[]): number => results.reduce((sum, { cost }) => sum + (cost ?? 0), 0)
const said = (messages: ConversationMessage[]): string => messages.map(({ content }) => content).join('\n')
const named = (context: StepContext): string =>
  `${context.metadata.reader.name} ${spent(context.allStepResults)} ${said(context.threadHistory)} ${context.previousStepOutput.length}`
changed.steps.push({ id: 'named', provider: 'openai', model: 'gpt-5.4', action: 'refine', prompt: named })

const seen = new Set<string>()
function onUpdate(update: FlowStreamUpdate): void {
  seen.add(update.type)
  switch (update.type) {
    case 'step_progress':
      console.log(update.stepId, update.data.delta.length)
      break
    case 'flow_complete':
      console.log(update.data.finalOutput.length)
      break
    case 'error':
      console.error(update.data)
      break
  }
}

const thread = await conversationService.createThread('user', { title: 'A program' })
await conversationService.addMessage(thread.id, 'user', { role: 'user', content: 'The sea' })
// A prompt that reads metadata needs it.
await dataSharingService.set('user', 'openai', { allowConversationHistory: true })
const flow: OrchestrationFlow = await orchestratorService.createFlow(thread.id, 'user', definition)
const result = await orchestratorService.executeFlow(flow.id, 'user', {
  streaming: true,
  onUpdate,
  saveMessages: true,
  threadId: thread.id,
  timeout,
  metadata: { reader: { name: 'Ada' } },
})
const statuses = Object.fromEntries(result.steps.map((step) => [step.stepId, step.status]))
const stepResults: OrchestrationStepResult[] = (await orchestratorService.getFlow(flow.id, 'user')).stepResults
const stored = stepResults.filter((step) => step.status === OrchestrationStepStatus.SUCCESS)
const usage: TokenUsage | undefined = stored[0]?.usage
const messages: ConversationMessage[] = await conversationService.getMessages(thread.id, 'user')
const cost: number = spent(result.steps)
const status = await orchestratorService.getFlowStatus(flow.id)
const listed = await orchestratorService.listFlows(thread.id, 'user', {
  status: OrchestrationFlowStatus.COMPLETED,
  type: OrchestrationFlowType.SEQUENTIAL,
  limit: 5,
  offset: 0,
  sortBy: 'completedAt',
  sortOrder: 'DESC',
})
const single = await orchestratorService.executeStep(flow.id, 'last', 'user', 'The land')
const names: FlowTemplateName[] = ['critique', 'qa']
const templates: FlowDefinition[] = [
  ...names.map((name) => getFlowTemplate(name)),
  createCritiqueFlow('openai', 'gpt-5.4', 'anthropic', 'claude-opus-4-6'),
  createComparisonFlow([
    { provider: 'openai', model: 'gpt-5.4' },
    { provider: 'google', model: 'gemini-3.1-pro' },
  ]),
  createRefinementFlow(5, 0.85),
  createSequentialAnalysisFlow(),
  createConditionalRoutingFlow(),
  createConsensusFlow(),
  createQualityAssuranceFlow(),
]
const unknown = await orchestratorService.getFlow('nothing', 'user').catch((error: unknown) => error)
await orchestratorService.cancelFlow(flow.id, 'user').catch((error: unknown) => OrchestratorError.is(error) && error.code)
await orchestratorService.deleteFlow(flow.id, 'user')

const policy: DataSharingPolicy = {
  userId: 'user',
  providerKey: 'scripted',
  allowConversationHistory: true,
  allowCrossProviderContext: true,
  allowAttachments: true,
}
const scripted = createScriptedProvider({ id: 'scripted', replies: ['own'] })
const polyphony = await createPolyphony({ database: 'memory://', providers: { scripted } })
await polyphony.dataSharing.set(policy.userId, policy.providerKey, { allowConversationHistory: policy.allowConversationHistory })
const services: [OrchestratorService, PermissionService, ProviderService] = [
  polyphony.orchestrator,
  polyphony.permissions,
  polyphony.providers,
]
await polyphony.close()
const closing = (server: PolyphonyServer): Promise<void> => server.close()

const report = {
  status: result.status,
  progress: status.progress.toFixed(1),
  started: status.startedAt !== undefined && Date.now() - status.startedAt.getTime() >= 0,
  failed: status.failedSteps,
  statuses,
  stored: stored.length,
  tokens: usage?.totalTokens !== undefined,
  messages: messages.filter((message) => message.metadata?.orchestrationFlowId === flow.id).length,
  listed: listed.length,
  single: single.status,
  spent: cost >= 0,
  templates: [...templates, changed].length,
  unknown: OrchestratorError.is(unknown) && unknown.code,
  updates: ['flow_start', 'step_start', 'step_progress', 'step_complete', 'flow_complete'].every((type) => seen.has(type)),
  services: services.length + closing.length,
}
console.log(`REPORT ${JSON.stringify(report)}`)
