import type { FlowDefinition, FlowStep } from '../../domain/definition/flow-definition.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { DataSharingService, DecideSharing } from '../../policies/policy.ts'
import { isOfCaller, resolveTools, type StepTool, type ToolSetDeps } from '../tools/tool-set.ts'
import type { Findings, FlowFinding } from './flow-finding.ts'

export interface ToolFindingsDeps extends ToolSetDeps {
  readonly dataSharing: Pick<DataSharingService, 'get'>
  readonly decideSharing: DecideSharing
}

/** Codes of tools that cannot be found. Another failure, such as a server that is down, may be over at the run. */
const CERTAIN: ReadonlySet<string> = new Set(['FLOW_INVALID', 'PROVIDER_NOT_CONFIGURED', 'PROVIDER_INACTIVE'])

/**
 * Problems of the tools that steps name, and warnings about calls that data sharing will refuse: the model gets an
 * error, and the flow continues.
 */
export async function toolFindings(deps: ToolFindingsDeps, definition: FlowDefinition, userId: string): Promise<Findings> {
  const problems: FlowFinding[] = []
  const warnings: FlowFinding[] = []
  for (const [index, step] of definition.steps.entries()) {
    if (!step.tools) continue
    const path = `steps[${index}].tools`
    try {
      const { tools } = await resolveTools(deps, step, definition.callerTools)
      for (const tool of tools.values()) {
        if (tool.operation.input.type !== 'object') problems.push(withoutSchema(step, path, tool))
        if (isOfCaller(tool)) continue
        const finding = await sharingFinding(deps, definition, { step, path, tool, userId })
        if (finding) warnings.push(finding)
      }
    } catch (error) {
      const { code, message, details } = OrchestratorError.from(error)
      const found = CERTAIN.has(code) ? problems : warnings
      found.push({ code, path, message, details: { stepId: step.id, ...details } })
    }
  }
  return { problems, warnings }
}

const withoutSchema = ({ id }: FlowStep, path: string, tool: StepTool): FlowFinding => ({
  code: 'FLOW_INVALID',
  path,
  message: `tool "${tool.id}" of step "${id}": expected a JSON Schema of an object for its arguments, found none`,
  details: { stepId: id, tool: tool.id },
})

interface NamedTool {
  readonly step: FlowStep
  readonly path: string
  readonly tool: StepTool
  readonly userId: string
}

async function sharingFinding(
  { decideSharing, dataSharing }: ToolFindingsDeps,
  { contextPolicy: { provenance } }: FlowDefinition,
  { step, path, tool, userId }: NamedTool,
): Promise<FlowFinding | undefined> {
  const [ofTool, ofModel] = await Promise.all([dataSharing.get(userId, tool.provider), dataSharing.get(userId, step.provider)])
  const given = decideSharing({ kind: 'step_output', name: step.id, from: step.provider }, tool.provider, ofTool, provenance)
  const result = decideSharing({ kind: 'tool_result', name: tool.id, from: tool.provider }, step.provider, ofModel, provenance)
  const denied = [given, result].find(({ allowed }) => !allowed)
  if (!denied) return undefined
  const { kind, from, to, rule } = denied
  const what = kind === 'tool_result' ? 'its result' : 'its arguments'
  return {
    code: 'DATA_SHARING_DENIED',
    path,
    message: `calls of tool "${tool.id}" by step "${step.id}" will be refused: ${what} may not go from ${from} to ${to}: ${rule}`,
    details: { stepId: step.id, tool: tool.id, kind, from, to, rule, userId },
  }
}
