import { findSuggestion, withSuggestion } from '../domain/definition/suggestion.ts'
import { withCallFacts } from '../domain/execution/call-facts.ts'
import { NO_TOKENS } from '../domain/execution/usage.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

const MAX_LISTED = 20

/** The error of a call that names no operation of a provider, or that is a prompt and no call of an operation. */
export function unknownOperation(
  provider: string,
  operation: string,
  known: Iterable<string>,
  isKnown: boolean,
): OrchestratorError {
  if (isKnown) {
    const message = `${provider}/${operation} cannot answer a prompt: name it in a step with action "run", or among the tools of a step`
    return new OrchestratorError('PROVIDER_REJECTED', message, { details: { provider, operation } })
  }
  const names = [...known]
  const suggestion = findSuggestion(operation, names)
  const listed = names.slice(0, MAX_LISTED).join(', ') || 'none'
  const message = `${withSuggestion(`provider "${provider}" has no operation "${operation}"`, suggestion)} (it has: ${listed})`
  return new OrchestratorError('PROVIDER_NOT_CONFIGURED', message, {
    details: { provider, operation, ...(suggestion && { suggestion }) },
  })
}

/** The error of a result that cannot be used. */
export const operationProblem = (provider: string, operation: string, problem: string): OrchestratorError =>
  withCallFacts(
    new OrchestratorError('OUTPUT_INVALID', `${provider}/${operation} gave an unusable result: ${problem}`, {
      details: { provider, operation, problem },
    }),
    { usage: NO_TOKENS, generated: false },
  )
