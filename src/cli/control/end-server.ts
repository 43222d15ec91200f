import { setTimeout as sleep } from 'node:timers/promises'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { isServerRunning, type ServerFile } from '../../system/server-file.ts'

const POLL_MS = 50

export interface EndServerOptions {
  /** Milliseconds that the server gets to end itself and its services. */
  readonly timeoutMs: number
  /** Milliseconds that the system gets to end it after that. */
  readonly killTimeoutMs: number
}

/**
 * Asks the server to end, and ends it by force after `timeoutMs`; resolves with whether force was needed. Rejects with
 * SERVICE_UNKILLABLE if the system does not end it either.
 */
export async function endServer(server: ServerFile, { timeoutMs, killTimeoutMs }: EndServerOptions): Promise<boolean> {
  if (await endsAfter(server, 'SIGTERM', timeoutMs)) return false
  if (await endsAfter(server, 'SIGKILL', killTimeoutMs)) return true
  throw new OrchestratorError('SERVICE_UNKILLABLE', `the server ${server.pid} still runs ${killTimeoutMs} ms after SIGKILL`, {
    details: { pids: [server.pid] },
  })
}

/** The identity is read again before every signal: the pid may belong to another process by now. */
async function endsAfter(server: ServerFile, signal: NodeJS.Signals, timeoutMs: number): Promise<boolean> {
  if (!isServerRunning(server)) return true
  try {
    process.kill(server.pid, signal)
  } catch (error) {
    // The server has ended since its identity was read.
    if (error instanceof Error && 'code' in error && error.code === 'ESRCH') return true
    throw error
  }
  const deadlineMs = performance.now() + timeoutMs
  while (isServerRunning(server)) {
    if (performance.now() > deadlineMs) return false
    await sleep(POLL_MS)
  }
  return true
}
