import { ERROR_CODES, type ErrorCode } from '../errors/error-codes.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { CommandContext } from './services.ts'

/** The remedy at the command line, with the command that resumes the flow where the error leaves it resumable. */
export function cliRemedyOf(code: ErrorCode, flowId?: unknown): string {
  const { remedy, cliRemedy = remedy, resumable } = ERROR_CODES[code]
  return typeof flowId === 'string' && resumable ? `${cliRemedy}\npolyphony flows resume ${flowId}` : cliRemedy
}

const stepInWords = ({ stepId }: OrchestratorError['details']): string =>
  typeof stepId === 'string' ? ` (step "${stepId}")` : ''

/** Prints an error with its remedy and returns the exit code. A stack trace is printed only for INTERNAL. */
export function reportError(thrown: unknown, { terminal, json }: Pick<CommandContext, 'terminal' | 'json'>): number {
  const error = OrchestratorError.from(thrown)
  const remedy = cliRemedyOf(error.code, error.details.flowId)
  if (json) terminal.printJson({ type: 'failed', error: { ...error.toJSON(), remedy } })
  terminal.warn(`${error.code}: ${error.message}${stepInWords(error.details)}`)
  terminal.warn(remedy)
  if (error.code === 'INTERNAL') terminal.warn(stackOf(thrown))
  return error.facts.exitCode
}

function stackOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  const cause = thrown.cause instanceof Error ? `\ncaused by ${thrown.cause.stack}` : ''
  return `${thrown.stack}${cause}`
}
