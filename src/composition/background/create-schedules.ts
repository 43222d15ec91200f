import { isDefinitionFile, readDefinitionFile } from '../../config/automation/definition-file.ts'
import type { Logger, PolyphonyConfig } from '../../config/config.ts'
import type { DefinitionParser } from '../../domain/definition/parser.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { OrchestratorService } from '../../orchestrator/orchestrator-service.ts'
import { createScheduleClaimer } from '../../orchestrator/schedules/schedule-claimer.ts'
import { ScheduleService } from '../../orchestrator/schedules/schedule-service.ts'
import { createScheduledFlows } from '../../orchestrator/schedules/scheduled-flows.ts'
import type { PermissionService } from '../../policies/policy.ts'
import type { Store } from '../../repositories/repository.ts'
import type { StoredFlows } from '../flows/create-stored-flows.ts'

export interface CreateSchedulesDeps {
  readonly config: Pick<PolyphonyConfig, 'schedules'>
  readonly store: Store
  readonly storedFlows: Pick<StoredFlows, 'access' | 'storeFlow'>
  readonly permissions: PermissionService
  readonly orchestrator: OrchestratorService
  readonly parser: DefinitionParser
  readonly logger: Pick<Logger, 'warn'>
  readonly now: () => Date
}

/** Builds the schedules of the configuration: the claimer that starts their flows, and the service that lists them. */
export function createSchedules(deps: CreateSchedulesDeps) {
  const { config, store, orchestrator, permissions, parser, logger, now } = deps
  const { schedules } = config
  const { schedules: repository, flows, threads } = store

  const start = createScheduledFlows({
    ...deps.storedFlows,
    orchestrator,
    permissions,
    flows,
    threads,
    async definitionOf(flow, userId) {
      if (isDefinitionFile(flow)) return (await readDefinitionFile(flow, parser)).definition
      const { getFlowTemplate, listFlowTemplates } = await import('../../../templates/index.ts')
      if (listFlowTemplates().some(({ name }) => name === flow)) return getFlowTemplate(flow)
      const saved = await orchestrator.findSavedFlow(userId, flow)
      if (saved) return saved.definition
      throw new OrchestratorError(
        'TEMPLATE_NOT_FOUND',
        `Expected a template or a saved flow of user ${JSON.stringify(userId)}, found none named ${JSON.stringify(flow)}`,
      )
    },
    now,
  })
  return {
    claimer: createScheduleClaimer({ repository, schedules, start, logger, now }),
    service: new ScheduleService({ repository, schedules, now }),
  }
}

export type Schedules = ReturnType<typeof createSchedules>
