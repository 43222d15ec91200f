import { ERROR_CODES, type ErrorCode } from '../errors/error-codes.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import type { CommandContext } from './services.ts'

/** What to do about it at the command line, where that differs from what a program would do. */
const REMEDIES: { readonly [Code in ErrorCode]?: string } = {
  INPUT_INVALID: 'See what the command takes: polyphony help <command>.',
  FLOW_INPUT_MISSING: 'Give the prompt after the name: polyphony run critique "Write a haiku about rain".',
  FLOW_INTERRUPTED: 'Resume it; recorded steps are not paid twice.',
  FLOW_CANCELLED: 'Resume it; recorded steps are not paid twice.',
  FLOW_NOT_FOUND: 'See what there is: polyphony flows list.',
  FLOW_ALREADY_COMPLETED: 'Run it anew: polyphony flows rerun <id>.',
  FLOW_INVALID: 'Correct the definition at the places named above.',
  FLOW_TIMEOUT: 'Raise maxExecutionTime of the definition, or resume it; recorded steps are not paid twice.',
  STEP_TIMEOUT: "Raise the step's timeout, or resume the flow; recorded steps are not paid twice.",
  TEMPLATE_NOT_FOUND: 'See what there is: polyphony templates. A file needs its ending: .yaml, .yml or .json.',
  DATA_SHARING_DENIED: 'Allow it with --allow-sharing, or use one provider for every step with --model provider/model.',
  LIMIT_EXCEEDED: 'Raise the limit (--max-cost, or limits of the definition); everything done so far is kept.',
  PROVIDER_NOT_CONFIGURED: 'Set its key (OPENAI_API_KEY, ANTHROPIC_API_KEY, GEMINI_API_KEY, …) or try it with --simulate.',
}

/** Codes after which the same flow can go on. */
const RESUMABLE: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'FLOW_INTERRUPTED',
  'FLOW_CANCELLED',
  'FLOW_TIMEOUT',
  'STEP_TIMEOUT',
  'PROVIDER_RATE_LIMITED',
  'PROVIDER_QUOTA_EXHAUSTED',
  'PROVIDER_UNAVAILABLE',
  'PROVIDER_BAD_REPLY',
  'PROVIDER_STREAM_CUT',
])

/** What the reader can do about an error at the command line. */
export function cliRemedyOf(code: ErrorCode, flowId?: unknown): string {
  const remedy = REMEDIES[code] ?? ERROR_CODES[code].remedy
  return typeof flowId === 'string' && RESUMABLE.has(code) ? `${remedy}\npolyphony flows resume ${flowId}` : remedy
}

/** Names the step, where the error is of one. */
const placeOf = ({ stepId }: OrchestratorError['details']): string => (typeof stepId === 'string' ? ` (step "${stepId}")` : '')

/** Tells what went wrong and returns the exit code. Only a bug of ours shows a stack trace. */
export function reportError(thrown: unknown, { terminal, json }: Pick<CommandContext, 'terminal' | 'json'>): number {
  const error = OrchestratorError.from(thrown)
  const remedy = cliRemedyOf(error.code, error.details.flowId)
  if (json) terminal.printJson({ type: 'failed', error: { ...error.toJSON(), remedy } })
  terminal.warn(`${error.code}: ${error.message}${placeOf(error.details)}`)
  terminal.warn(remedy)
  if (error.code === 'INTERNAL') terminal.warn(stackOf(thrown))
  return error.facts.exitCode
}

function stackOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown)
  const cause = thrown.cause instanceof Error ? `\ncaused by ${thrown.cause.stack}` : ''
  return `${thrown.stack}${cause}`
}
