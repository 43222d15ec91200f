import { type CallFacts, withCallFacts } from '../../domain/execution/call-facts.ts'
import { ERROR_CODES, type ErrorCode } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toCanonicalJson } from '../../prompts/request-key.ts'
import { exchangeSchema, type Outcome } from './recording-format.ts'
import type { Redact } from './redaction.ts'

const outcomeSchema = exchangeSchema.shape.outcome

/** An outcome as it is stored: without secrets, and without fields of answers that are not part of the contract. */
export function toOutcome(outcome: Outcome, redact: Redact): Outcome {
  return outcomeSchema.parse(toCanonicalJson(outcome, redact))
}

type FailedOutcome = Extract<Outcome, { error: unknown }>

/**
 * The error of a recorded request with its facts. Waits that the provider asked for, of at most `retryAfterCapMs`, are
 * over: they would only delay a replay.
 */
export function toRecordedError({ error, facts }: FailedOutcome, retryAfterCapMs: number): Error {
  const thrown = 'code' in error ? toOrchestratorError(error) : new Error(error.message)
  return facts === undefined ? thrown : withCallFacts(thrown, withoutWait(facts, retryAfterCapMs))
}

function withoutWait(facts: CallFacts, retryAfterCapMs: number): CallFacts {
  const { retryAfterMs } = facts
  return retryAfterMs === undefined || retryAfterMs > retryAfterCapMs ? facts : { ...facts, retryAfterMs: 0 }
}

const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERROR_CODES, code)

function toOrchestratorError({ code, message, retryable, details }: Extract<FailedOutcome['error'], { code: string }>) {
  return new OrchestratorError(isErrorCode(code) ? code : 'INTERNAL', message, { retryable, details })
}
