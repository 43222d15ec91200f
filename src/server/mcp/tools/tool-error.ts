import type { CallToolResult } from '@modelcontextprotocol/server'
import { ERROR_CODES, type ErrorCode } from '../../../errors/error-codes.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { toProblem } from '../../errors/problem-details.ts'

/** What a model can do about it with these tools, where that differs from what a program would do. */
const REMEDIES: { readonly [Code in ErrorCode]?: string } = {
  FLOW_NOT_FOUND: 'See what there is with list_flows.',
  FLOW_INPUT_MISSING: 'Give `input` to start_flow.',
  FLOW_ALREADY_RUNNING: 'Follow it with follow_flow, or end it with cancel_flow.',
  FLOW_ALREADY_COMPLETED: 'Read it with get_flow, or make a new run of it with rerun_flow.',
  FLOW_INVALID: 'Correct the definition at the places named above; describe_template shows one that is valid.',
  FLOW_INTERRUPTED: 'Start it again with start_flow; recorded steps are not paid twice.',
  FLOW_CANCELLED: 'Start it again with start_flow to go on; recorded steps are not paid twice.',
  FLOW_TIMEOUT: 'Raise maxExecutionTime of the definition, or start it again; recorded steps are not paid twice.',
  STEP_NOT_FOUND: 'See its steps with get_flow.',
  TEMPLATE_NOT_FOUND: 'See what there is with list_templates.',
  PERMISSION_DENIED: 'The key or its user may not do this; only a person can change that.',
  DATA_SHARING_DENIED:
    'Only the user can allow it. Ask for it, or use models of one provider for all steps: describe_template shows the parameters.',
  LIMIT_EXCEEDED: 'Ask the user, then start it again with higher `limits`; everything done so far is kept.',
  PROVIDER_NOT_CONFIGURED: 'Use a provider of list_providers.',
  PROVIDER_INACTIVE: 'Use an active provider of list_providers.',
  INPUT_INVALID: 'Correct the arguments at the places named above.',
  UNAUTHENTICATED: 'The key or token is no longer valid; only a person can renew it.',
}

export const remedyOf = (code: ErrorCode): string => REMEDIES[code] ?? ERROR_CODES[code].remedy

/** An error as a result of the call, so that the model reads it and can mend what it did. An error of ours says nothing of itself. */
export function toToolError(thrown: unknown, requestId?: string): CallToolResult {
  const error = OrchestratorError.from(thrown)
  const problem = { ...toProblem(error, { requestId }), remedy: remedyOf(error.code) }
  return {
    isError: true,
    content: [{ type: 'text', text: `${problem.code}: ${problem.detail}\n${problem.remedy}` }],
    // Not as structured content: clients of earlier revisions validate that against the output schema of the tool.
    _meta: { 'polyphony/problem': problem },
  }
}
