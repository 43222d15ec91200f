import { withCallFacts } from '../../domain/execution/call-facts.ts'
import { NO_TOKENS } from '../../domain/execution/usage.ts'
import type { ErrorCode } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { networkCodeOf } from '../vendor/vendor-error.ts'

/** Maximum characters of a message of a server. */
const MAX_MESSAGE = 2_000

/** The error of a tool that says that it failed. Its text is meant for the model or user that called it. */
export function toolFailed(provider: string, tool: string, text: string, idempotent: boolean): OrchestratorError {
  const shown = text.length > MAX_MESSAGE ? `${text.slice(0, MAX_MESSAGE)}…` : text
  const error = new OrchestratorError('STEP_FAILED', `Tool ${provider}/${tool} failed: ${shown || 'it gave no reason'}`, {
    details: { provider, operation: tool },
    retryable: idempotent,
  })
  return withCallFacts(error, { usage: NO_TOKENS, generated: false })
}

/** Codes of JSON-RPC that say that the request itself is wrong (JSON-RPC 2.0, 5.1). */
const WRONG_REQUEST: ReadonlySet<unknown> = new Set([-32600, -32601, -32602])

/** The error of a failed request to a server. Its message is not repeated, because it may hold texts of the request. */
export function toMcpError(provider: string, error: unknown): OrchestratorError {
  const own = causesOf(error).find(OrchestratorError.is)
  if (own) return own
  const status = numberAt(error, 'status')
  const code = codeOf(error, status)
  const found =
    status === undefined ? (networkCodeOf(error) ?? (error instanceof Error ? error.name : typeof error)) : `status ${status}`
  return new OrchestratorError(code, `MCP server "${provider}" did not answer as expected (${found})`, {
    details: { provider, ...(status !== undefined && { status }) },
    cause: error,
  })
}

/** The client wraps errors of requests in its own, some of them more than once. */
function causesOf(error: unknown): readonly unknown[] {
  const causes: unknown[] = []
  for (let found = error; typeof found === 'object' && found !== null && causes.length < MAX_CAUSES; ) {
    causes.push(found)
    const { cause, data }: { readonly cause?: unknown; readonly data?: unknown } = found
    found = cause ?? (typeof data === 'object' && data !== null ? Reflect.get(data, 'cause') : undefined)
  }
  return causes
}

const MAX_CAUSES = 5

function codeOf(error: unknown, status: number | undefined): ErrorCode {
  if (status === 401 || status === 403) return 'PROVIDER_AUTH'
  if (status === 429) return 'PROVIDER_RATE_LIMITED'
  if (status !== undefined && status >= 400 && status < 500 && status !== 408) return 'PROVIDER_REJECTED'
  if (error instanceof Error && error.name === 'UnauthorizedError') return 'PROVIDER_AUTH'
  if (WRONG_REQUEST.has(numberAt(error, 'code'))) return 'PROVIDER_REJECTED'
  return 'PROVIDER_UNAVAILABLE'
}

/** Whether the server does not know the session, so that it has not run the request (MCP 2025-11-25, sessions). */
export const isUnknownSession = (error: unknown): boolean => numberAt(error, 'status') === 404

function numberAt(error: unknown, key: string): number | undefined {
  const value: unknown = typeof error === 'object' && error !== null ? Reflect.get(error, key) : undefined
  return typeof value === 'number' ? value : undefined
}
