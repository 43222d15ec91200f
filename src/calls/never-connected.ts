import type { OrchestratorError } from '../errors/orchestrator-error.ts'

/** Network codes of failures before anything was sent. */
const NEVER_CONNECTED: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** Whether no connection could be made. Then nothing is billed, and every model of the provider fails likewise. */
export const wasNeverConnected = (error: OrchestratorError): boolean => NEVER_CONNECTED.has(error.details.networkCode)
