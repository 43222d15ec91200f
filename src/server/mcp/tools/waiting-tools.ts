import * as z from 'zod'
import { id } from '../../../protocol/instant.ts'
import { stepAnswer, stepDecision, stepPath, waitingListQuery, waitingPage } from '../../../protocol/waiting.ts'
import { toWaitingText } from './flow-state.ts'
import { defineTool, READ_ONLY } from './tool.ts'

const DEFAULT_LIST_LIMIT = 20

export const listWaiting = defineTool({
  name: 'list_waiting',
  title: 'List what waits for somebody',
  description:
    'Lists the steps of flows that wait for a decision, a time or an event, the oldest first: all that the user may read, or those of one flow. `mayAnswer` says whether the user may decide.',
  scope: 'read',
  input: z.strictObject({
    flowId: id.optional().describe('Only steps of this flow'),
    limit: z.number().int().min(1).max(100).default(DEFAULT_LIST_LIMIT),
    cursor: waitingListQuery.shape.cursor.describe('`nextCursor` of the previous page'),
  }),
  output: waitingPage,
  annotations: READ_ONLY,
  async run(query, { deps, caller }) {
    const { waiting, nextCursor } = await deps.orchestrator.listWaitingPage(caller.userId, query)
    const lines = waiting.map((step) => `flowId ${step.flowId}\n${toWaitingText(step)}`)
    if (nextCursor !== undefined) lines.push(`There are more: call it again with cursor "${nextCursor}".`)
    return { value: { items: waiting, nextCursor }, text: lines.join('\n\n') || 'Nothing waits.' }
  },
})

export const answerWaiting = defineTool({
  name: 'answer_waiting',
  title: 'Answer a step that waits',
  description:
    'Passes on the decision of the user about a step that waits; the flow goes on and models are called. Never decide yourself: show the user what the step shows, and ask. The first decision counts. Then call follow_flow.',
  scope: 'execute',
  input: z.strictObject({
    flowId: id,
    path: stepPath.describe('`path` of list_waiting or follow_flow'),
    hash: z.string().max(200).describe('`hash` of the same entry: the decision counts only for what was shown'),
    approved: stepAnswer.shape.approved.describe('The decision; leave it out for a step that waits for an event'),
    edit: stepAnswer.shape.edit.describe('A text of the user that replaces the one shown'),
    data: stepAnswer.shape.data.describe('Data that come with the decision or the event'),
  }),
  output: stepDecision,
  annotations: { readOnlyHint: false, destructiveHint: false, idempotentHint: false, openWorldHint: true },
  async run({ flowId, path, ...answer }, { deps, caller }) {
    const value = await deps.orchestrator.signal(flowId, caller.userId, path, answer)
    const what = value.approved === undefined ? 'has its event' : value.approved ? 'is approved' : 'is rejected'
    return { value, text: `Step "${path}" ${what}. Call follow_flow with flowId ${flowId}.` }
  },
})
