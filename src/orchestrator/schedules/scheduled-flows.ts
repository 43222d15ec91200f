import { createHash } from 'node:crypto'
import type { FlowDefinition, FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import { toDerivedId } from '../../domain/derived-id.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { PermissionService } from '../../policies/policy.ts'
import type { FlowRepository, ThreadRepository } from '../../repositories/repository.ts'
import type { FlowAccess } from '../flows/flow-access.ts'
import type { StoreFlow } from '../flows/flow-creation.ts'
import type { OrchestratorService } from '../orchestrator-service.ts'

/** What a schedule starts, for whom, and where. */
export interface ScheduledFlow {
  readonly name: string
  readonly flow: string | FlowDefinitionInput
  readonly userId: string
  readonly threadId?: string
  readonly input?: string
  readonly metadata?: Readonly<Record<string, unknown>>
}

export interface ScheduledFlowsDeps {
  readonly orchestrator: Pick<OrchestratorService, 'startFlow'>
  readonly access: Pick<FlowAccess, 'requireOnThread'>
  readonly storeFlow: StoreFlow
  readonly flows: Pick<FlowRepository, 'find'>
  readonly threads: Pick<ThreadRepository, 'create' | 'find'>
  readonly permissions: Pick<PermissionService, 'threadCreated'>
  /** The definition of a template, a file or a saved flow. Rejects with TEMPLATE_NOT_FOUND. */
  readonly definitionOf: (flow: string, userId: string) => Promise<FlowDefinitionInput | FlowDefinition>
  readonly now: () => Date
}

/**
 * Starts the flow of an instant and resolves with its id. The id follows from the schedule and the instant: however
 * often this is called for an instant, in however many processes, one flow is stored, and it is started while it is
 * PENDING only.
 */
export type StartScheduledFlow = (schedule: ScheduledFlow, instant: Date) => Promise<string>

export function createScheduledFlows(deps: ScheduledFlowsDeps): StartScheduledFlow {
  const { orchestrator, flows } = deps

  return async (schedule, instant) => {
    const id = toScheduledFlowId(schedule.name, instant)
    const known = await flows.find(id)
    if (!known) await store(id, schedule)
    if (known && known.status !== 'PENDING') return id
    try {
      const { input, metadata } = schedule
      await orchestrator.startFlow(id, schedule.userId, { input, metadata, resumeAfterCrash: true })
    } catch (error) {
      // Another process has started it since.
      if (!OrchestratorError.is(error) || !STARTED.has(error.code)) throw error
    }
    return id
  }

  async function store(id: string, { flow, userId, name, threadId, metadata }: ScheduledFlow): Promise<void> {
    const definition = typeof flow === 'string' ? await deps.definitionOf(flow, userId) : flow
    const thread = threadId ?? (await ownThread(name, userId))
    await deps.access.requireOnThread(thread, userId, 'write')
    try {
      await deps.storeFlow({ id, threadId: thread, userId, definition, metadata })
    } catch (error) {
      // Another process has stored it since.
      if (!(await flows.find(id))) throw error
    }
  }

  /** The thread of a schedule without a configured one. Its id follows from the schedule, so that there is one. */
  async function ownThread(name: string, userId: string): Promise<string> {
    const id = toDerivedId(`schedule ${JSON.stringify([name, userId])}`)
    if (await deps.threads.find(id)) return id
    try {
      await deps.threads.create({ id, userId, title: name, createdAt: deps.now() })
    } catch (error) {
      if (!(await deps.threads.find(id))) throw error
    }
    await deps.permissions.threadCreated(id, userId)
    return id
  }
}

const STARTED: ReadonlySet<string> = new Set(['FLOW_ALREADY_RUNNING', 'FLOW_ALREADY_COMPLETED'])

/** A flow id that follows from schedule and instant and is, as every flow id, ordered by its time. */
export function toScheduledFlowId(name: string, instant: Date): string {
  const time = instant.getTime().toString(16).padStart(12, '0')
  const hash = createHash('sha256')
    .update(JSON.stringify(['schedule', name, instant.getTime()]))
    .digest('hex')
  return `${time.slice(0, 8)}-${time.slice(8, 12)}-7${hash.slice(0, 3)}-8${hash.slice(3, 6)}-${hash.slice(6, 18)}`
}
