import type { OrchestrationFlowSummary } from '../../domain/execution/flow.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import {
  deletedWorkflow,
  MAX_LISTED_WORKFLOWS,
  newWorkflow,
  type WorkflowReport,
  type WorkflowStatus,
  workflow,
  workflowDeletion,
  workflowListQuery,
  workflowParams,
} from '../../protocol/workflow.ts'
import { namedSchemas } from '../requests/named-schemas.ts'
import { callerOf, type Routes } from '../requests/routes.ts'
import { assertRunnable } from '../requests/runnable.ts'
import type { ServerDeps } from '../server-deps.ts'
import { toWorkflowFlow } from './workflow-definition.ts'
import { toWorkflow, toWorkflowStatus } from './workflow-view.ts'

namedSchemas.add(workflow, { id: 'Workflow' })

const tags = ['workflows']
const TITLE_CHARACTERS = 80
/** Pages of flows that a list with a status reads at most: workflows older than these are not found by their status. */
const MAX_PAGES = 10

/** Statuses of flows that can be shown with a status of workflows. */
const FLOW_STATUSES = {
  pending: ['PENDING'],
  running: ['RUNNING', 'PAUSED'],
  completed: ['COMPLETED'],
  failed: ['FAILED'],
  partial: ['COMPLETED', 'FAILED'],
  cancelled: ['CANCELLED'],
} as const satisfies Record<WorkflowStatus, readonly string[]>

/** Workflows of agents at the paths of a workflow service; each is a flow of a thread of its own. */
export const workflowRoutes =
  ({ orchestrator, conversations, agents }: ServerDeps): Routes =>
  async (app) => {
    app.post(
      '/run-graph',
      {
        schema: {
          operationId: 'runWorkflow',
          tags,
          summary: 'Start a workflow of agents; the response is sent before it has ended',
          body: newWorkflow,
          response: { 202: workflow },
        },
        config: { scope: 'execute', idempotent: true },
      },
      async (request, reply) => {
        const { userId, keyId: apiKeyId } = callerOf(request)
        const { definition, stored } = toWorkflowFlow(request.body, agents)
        const title = (definition.input ?? '').trim().replace(/\s+/g, ' ').slice(0, TITLE_CHARACTERS)
        const { id: threadId } = await conversations.createThread(userId, { title })
        try {
          const flow = await orchestrator.createFlow(threadId, userId, definition, { overNetwork: true })
          await assertRunnable({ orchestrator }, flow.definition, userId)
          const metadata = { workflow: stored }
          const accepted = toWorkflow({ ...flow, metadata })
          await orchestrator.startFlow(flow.id, userId, { metadata, apiKeyId, streaming: true, resumeAfterCrash: true })
          return reply.code(202).header('location', `/status/${flow.id}`).header('x-polyphony-flow-id', flow.id).send(accepted)
        } catch (error) {
          await conversations.deleteThread(threadId, userId).catch(() => {})
          throw error
        }
      },
    )

    app.get(
      '/status/:workflowId',
      {
        schema: {
          operationId: 'getWorkflowStatus',
          tags,
          summary: 'Read the status and the results of a workflow',
          params: workflowParams,
          response: { 200: workflow },
        },
        config: { scope: 'read' },
      },
      async (request) => toWorkflow(await orchestrator.getFlow(request.params.workflowId, callerOf(request).userId)),
    )

    app.get(
      '/workflows',
      {
        schema: {
          operationId: 'listWorkflows',
          tags,
          summary: 'List your workflows, newest first; with a status, those among your newest 1,000 flows of that status',
          querystring: workflowListQuery,
          response: { 200: workflow.array() },
        },
        config: { scope: 'read' },
      },
      async (request) => {
        const { status, limit } = request.query
        const { userId } = callerOf(request)
        const lists = status === undefined ? [undefined] : FLOW_STATUSES[status]
        const found = await Promise.all(lists.map((flowStatus) => findFlows(userId, { flowStatus, status, limit })))
        const newest = found
          .flat()
          .sort((a, b) => b.createdAt.getTime() - a.createdAt.getTime())
          .slice(0, limit)
        const shown = await Promise.all(newest.map(({ id }) => readWorkflow(id, userId)))
        return shown.flatMap((one) => (one && (status === undefined || one.status === status) ? [one] : []))
      },
    )

    app.delete(
      '/workflows/:workflowId',
      {
        schema: {
          operationId: 'deleteWorkflow',
          tags,
          summary: 'Delete a workflow with its results; a running one only with `force=true`, which cancels it first',
          params: workflowParams,
          querystring: workflowDeletion,
          response: { 200: deletedWorkflow },
        },
        config: { scope: 'write' },
      },
      async (request) => {
        const { workflowId } = request.params
        const { userId } = callerOf(request)
        const { status, threadId, metadata, userId: ownerId } = await orchestrator.getFlow(workflowId, userId, { steps: 'final' })
        const isRunning = status === 'RUNNING' || status === 'PAUSED'
        if (isRunning && request.query.force !== 'true') {
          throw new OrchestratorError(
            'FLOW_RUNNING',
            `Workflow "${workflowId}" is running: wait until it has ended, or delete it with ?force=true, which cancels it first`,
            { details: { flowId: workflowId } },
          )
        }
        if (isRunning) await orchestrator.cancelFlow(workflowId, userId)
        await orchestrator.deleteFlow(workflowId, userId)
        if (metadata?.workflow !== undefined && ownerId === userId) {
          await deleteEmptyThread(threadId, userId).catch(() => {})
        }
        return { workflow_id: workflowId, deleted: true as const, message: 'Workflow deleted' }
      },
    )

    interface ListOptions {
      readonly flowStatus: (typeof FLOW_STATUSES)[WorkflowStatus][number] | undefined
      readonly status: WorkflowStatus | undefined
      readonly limit: number
    }

    /** Reads pages of flows, without their results, until enough of them have the status of a workflow. */
    async function findFlows(userId: string, { flowStatus, status, limit }: ListOptions) {
      const found: OrchestrationFlowSummary[] = []
      let cursor: string | undefined
      for (let page = 0; page < MAX_PAGES && found.length < limit; page++) {
        const size = status === undefined ? limit : MAX_LISTED_WORKFLOWS
        const { flows, nextCursor } = await orchestrator.listFlowPage(userId, {
          limit: size,
          ...(flowStatus && { status: flowStatus }),
          ...(cursor !== undefined && { cursor }),
        })
        found.push(...flows.filter((flow) => status === undefined || toWorkflowStatus(flow) === status))
        cursor = nextCursor
        if (cursor === undefined) break
      }
      return found.slice(0, limit)
    }

    /** Deletes the thread that was made for a workflow, unless it holds anything else by now. */
    async function deleteEmptyThread(threadId: string, userId: string): Promise<void> {
      const { flows } = await orchestrator.listFlowPage(userId, { limit: 1 }, threadId)
      const messages = await conversations.getMessages(threadId, userId, { limit: 1 })
      if (flows.length === 0 && messages.length === 0) await conversations.deleteThread(threadId, userId)
    }

    /** A workflow of a list; undefined if it was deleted since the list was read. */
    async function readWorkflow(flowId: string, userId: string): Promise<WorkflowReport | undefined> {
      try {
        return toWorkflow(await orchestrator.getFlow(flowId, userId))
      } catch (error) {
        if (OrchestratorError.is(error) && error.code === 'FLOW_NOT_FOUND') return undefined
        throw error
      }
    }
  }
