import * as z from 'zod'
import { DEVELOPMENT_PHASES } from '../../../../templates/development-phases.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { parseSettings } from '../../parse-settings.ts'
import type { Workflow } from './workflow.ts'

const promptsSchema = z.partialRecord(
  z.enum(['requirement_analysis', 'task_generation', 'agent_assignment', 'execution', 'validation', 'deployment']),
  z.string().min(1),
)

const optionsSchema = z.strictObject({
  /** Name of the workflow; default `Complete development`. */
  name: z.string().min(1).max(200).optional(),
  /** Instructions by phase, Liquid templates that replace the bundled ones. */
  prompts: promptsSchema.optional(),
  /** Further facts for all phases, beside the requirements. */
  context: z.record(z.string(), z.unknown()).optional(),
  /** Cancels the workflow. */
  signal: z.custom<AbortSignal>((value) => value instanceof AbortSignal, 'expected an AbortSignal').optional(),
})

export type CompleteWorkflowOptions = z.input<typeof optionsSchema>

type Phase = keyof typeof DEVELOPMENT_PHASES

/** The phases whose outputs each phase reads. */
const READS: Readonly<Record<Phase, readonly Phase[]>> = {
  requirement_analysis: [],
  task_generation: ['requirement_analysis'],
  agent_assignment: ['task_generation'],
  execution: ['requirement_analysis', 'task_generation', 'agent_assignment'],
  validation: ['requirement_analysis', 'execution'],
  deployment: ['execution', 'validation'],
}

/** The development pipeline as a workflow. Throws CONFIG_INVALID, and INPUT_INVALID without requirements. */
export function completeWorkflow(requirements: unknown, options: CompleteWorkflowOptions) {
  if (typeof requirements !== 'string' || requirements.trim() === '') {
    const found = typeof requirements === 'string' ? 'only blank characters' : typeof requirements
    throw new OrchestratorError('INPUT_INVALID', `executeCompleteWorkflow: expected the requirements as text, found ${found}`)
  }
  const {
    name = 'Complete development',
    prompts = {},
    context,
    signal,
  } = parseSettings(optionsSchema, options, 'executeCompleteWorkflow')
  const steps = Object.entries(READS).map(([type, dependencies]) => {
    const phase = Object.entries(DEVELOPMENT_PHASES).find(([known]) => known === type)?.[1]
    const prompt = Object.entries(prompts).find(([known]) => known === type)?.[1]
    return { id: type, name: phase?.name ?? type, type, dependencies: [...dependencies], ...(prompt !== undefined && { prompt }) }
  })
  const workflow: Workflow = { id: 'complete-development', name, steps }
  return { workflow, input: context ? { requirements, ...context } : requirements, signal }
}
