import type { OrchestratorError } from '../errors/orchestrator-error.ts'

/** Failures of the connection before anything could be sent. */
const NEVER_CONNECTED: ReadonlySet<unknown> = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
])

/** Whether there was no connection at all: nothing was sent, nothing is billed, and it is so for every model of the provider. */
export const wasNeverConnected = (error: OrchestratorError): boolean => NEVER_CONNECTED.has(error.details.networkCode)
