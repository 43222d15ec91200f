import * as z from 'zod'
import { execution, flowListQuery, flowPage, flowSummary, rerun } from '../../../protocol/flow.ts'
import { arrayOf, id } from '../../../protocol/instant.ts'
import { requireScope } from '../../access/caller.ts'
import { toDefinition } from '../../requests/definition-source.ts'
import { oneSource, source } from '../definition-arguments.ts'
import { questionsOf, takeAnswers } from './ask-user.ts'
import { assertWouldRun, createFlow } from './create-flow.ts'
import { flowState, flowStateWithSteps, readFlowState, readFlowWithSteps } from './flow-state.ts'
import { defineTool, READ_ONLY } from './tool.ts'
import { DEFAULT_WAIT_MS, waitForFlow } from './wait-for-flow.ts'

const flowId = id.describe('The flowId that another tool returned')
const threadId = id.optional().describe('A conversation to put the flow into; default: a new one')
const waitMs = z.number().int().min(0).max(86_400_000)
const DEFAULT_LIST_LIMIT = 20

export const listFlows = defineTool({
  name: 'list_flows',
  title: 'List flows',
  description:
    'Lists flows, newest first, with their status: all that the user created, or those of one conversation. Use it to find a flowId.',
  scope: 'read',
  input: z.strictObject({
    threadId: id.optional().describe('Only flows of this conversation'),
    ...flowListQuery.pick({ status: true, type: true }).shape,
    limit: z.number().int().min(1).max(100).default(DEFAULT_LIST_LIMIT),
    cursor: flowListQuery.shape.cursor.describe('`nextCursor` of the previous page; all other arguments must stay the same'),
  }),
  output: flowPage.extend({
    items: arrayOf(flowSummary.omit({ id: true, currentStepIndex: true }).extend({ flowId: z.string() })),
  }),
  annotations: READ_ONLY,
  async run({ threadId: inThread, ...query }, { deps, caller }) {
    const { flows, nextCursor } = await deps.orchestrator.listFlowPage(caller.userId, query, inThread)
    const items = flows.map((flow) => ({ ...flow, flowId: flow.id }))
    const lines = items.map(({ name, flowId, status, createdAt }) => `${flowId} ${status} "${name}" ${createdAt.toISOString()}`)
    if (nextCursor !== undefined) lines.push(`There are more: call it again with cursor "${nextCursor}".`)
    return { value: { items, nextCursor }, text: lines.join('\n') || 'There are no flows.' }
  },
})

export const createFlowTool = defineTool({
  name: 'create_flow',
  title: 'Create a flow',
  description:
    'Stores a flow of a template or a definition without starting it. To run something at once, call start_flow instead.',
  scope: 'write',
  input: oneSource(z.strictObject({ ...source, threadId })),
  output: flowState,
  annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: false, openWorldHint: false },
  async run({ threadId: inThread, ...given }, call) {
    const created = await createFlow(call, toDefinition(given), inThread)
    return readFlowState(call, created.flowId)
  },
})

export const getFlow = defineTool({
  name: 'get_flow',
  title: 'Read a flow',
  description:
    'Reads a flow: status, progress, cost, error, its steps, and the final output when it has completed. Does not wait; follow_flow does.',
  scope: 'read',
  input: z.strictObject({
    flowId,
    stepOutputs: z.boolean().default(false).describe('Whether to return the text of every step too, which may be long'),
  }),
  output: flowStateWithSteps,
  annotations: READ_ONLY,
  run: (given, call) => readFlowWithSteps(call, given.flowId, given.stepOutputs),
})

const hasOneSource = (given: { readonly flowId?: string; readonly definition?: unknown; readonly template?: unknown }) =>
  [given.flowId, given.definition, given.template].filter((one) => one !== undefined).length === 1

export const startFlow = defineTool({
  name: 'start_flow',
  title: 'Start a flow',
  description:
    'Runs a flow: models are called and money is spent. Give either `template` (with `parameters`), or `definition`, or the `flowId` of a flow that is not running: a failed, cancelled or interrupted one resumes after its last recorded step. `input` is the request to the models. Problems that check_flow finds are refused before anything is spent. Returns at once, or after `waitMs`; then call follow_flow with the flowId.',
  scope: 'execute',
  input: z
    .strictObject({
      ...source,
      flowId: flowId.optional(),
      threadId,
      input: execution.shape.input.describe('The request to the models'),
      limits: execution.shape.limits.describe('Limits of the flow: maxCostUsd in US dollars, maxTokens, maxSteps'),
      metadata: execution.shape.metadata.describe('Values that prompts read as {{ metadata.key }}'),
      waitMs: waitMs.default(0).describe('Milliseconds to wait for the end; the server may wait less'),
    })
    .refine(hasOneSource, 'expected one of `template`, `definition` and `flowId`')
    .refine(
      ({ template, parameters }) => parameters === undefined || template !== undefined,
      'expected `parameters` only with `template`',
    ),
  output: flowState,
  annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: false, openWorldHint: true },
  async run({ input, limits, metadata, waitMs: wait, flowId: known, threadId: inThread, ...given }, call) {
    const { orchestrator } = call.deps
    const { userId } = call.caller
    const sinceMs = Date.now()
    const flow = known === undefined ? await createNew() : { flowId: known, async undo() {} }
    try {
      await orchestrator.startFlow(flow.flowId, userId, {
        input,
        limits,
        metadata,
        streaming: true,
        resumeAfterCrash: true,
        apiKeyId: call.caller.keyId,
        ...(known !== undefined && { threadId: inThread }),
      })
    } catch (error) {
      await flow.undo()
      throw error
    }
    if (wait > 0) await waitForFlow(call, flow.flowId, wait, sinceMs)
    return readFlowState(call, flow.flowId)

    async function createNew() {
      requireScope(call.caller, 'write')
      const definition = toDefinition(given)
      await assertWouldRun(call, definition, limits)
      return createFlow(call, definition, inThread)
    }
  },
})

export const awaitFlow = defineTool({
  name: 'follow_flow',
  title: 'Wait for a flow',
  description:
    'Waits until a flow has ended, or until `waitMs` is over, and returns its state, with the final output when it has completed. Sends progress notifications. While `ended` is false, call it again. A flow that is PAUSED for a decision asks the user in a form where the client can show one; otherwise ask the user and call answer_waiting. Waiting less, or not at all, never stops the flow.',
  scope: 'read',
  input: z.strictObject({
    flowId,
    waitMs: waitMs.default(DEFAULT_WAIT_MS).describe('Milliseconds to wait at most; the server may wait less'),
  }),
  output: flowState,
  annotations: READ_ONLY,
  async run(given, call) {
    const decisions = await takeAnswers(call, given.flowId)
    // A user who declines to decide is not asked again in the same call.
    if (decisions === 0) return readFlowState(call, given.flowId)
    await waitForFlow(call, given.flowId, given.waitMs)
    const state = await readFlowState(call, given.flowId)
    if (state.value.status !== 'PAUSED') return state
    const waiting = await call.deps.orchestrator.listWaiting(call.caller.userId, { flowId: given.flowId })
    const questions = questionsOf(call, waiting)
    return questions ? { questions } : state
  },
})

export const cancelFlow = defineTool({
  name: 'cancel_flow',
  title: 'Cancel a flow',
  description:
    'Ends a flow and its model calls; returns when it has ended. Recorded results are kept, and start_flow can resume the flow. A flow that has ended stays as it is.',
  scope: 'execute',
  input: z.strictObject({ flowId }),
  output: flowState,
  annotations: { readOnlyHint: false, destructiveHint: true, idempotentHint: true, openWorldHint: false },
  async run(given, call) {
    await call.deps.orchestrator.cancelFlow(given.flowId, call.caller.userId)
    return readFlowState(call, given.flowId)
  },
})

export const rerunFlow = defineTool({
  name: 'rerun_flow',
  title: 'Run a flow anew',
  description:
    'Creates a new flow from the same definition without starting it: call start_flow with the new flowId. With `fromStep` the results of the steps before it are carried over and not paid for again.',
  scope: 'write',
  input: z.strictObject({
    flowId,
    fromStep: rerun.shape.fromStep.describe('Id of the first step that is to run again; default: all'),
    input: rerun.shape.input.describe('Another input; default: the same'),
  }),
  output: flowState,
  annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: false, openWorldHint: false },
  async run({ flowId: from, ...options }, call) {
    const created = await call.deps.orchestrator.rerunFlow(from, call.caller.userId, options)
    return readFlowState(call, created.id)
  },
})
