import type { CallToolResult } from '@modelcontextprotocol/server'
import { ERROR_CODES, type ErrorCode } from '../../../errors/error-codes.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import { toProblem } from '../../errors/problem-details.ts'

/** The remedy for a model that uses these tools. */
export function remedyOf(code: ErrorCode): string {
  const { remedy, toolRemedy = remedy } = ERROR_CODES[code]
  return toolRemedy
}

/**
 * An error as the result of a tool call, so that the model reads it and can correct its arguments. For INTERNAL, a bug
 * in Polyphony, the result holds only the code and the request id.
 */
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
