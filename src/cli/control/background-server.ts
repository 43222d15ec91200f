import { type ChildProcess, spawn } from 'node:child_process'
import { closeSync, mkdirSync, openSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { isProcessRunning } from '../../system/processes.ts'
import type { ServerFile } from '../../system/server-file.ts'
import { readLastLines } from './left-files.ts'
import { toErrorCode } from './problem.ts'
import { findServer } from './server-connection.ts'

export interface BackgroundServerOptions {
  readonly dataDir: string
  readonly logDir: string
  /** Milliseconds to wait until the server and its services run. */
  readonly timeoutMs: number
}

const POLL_MS = 50

/**
 * Starts `polyphony serve` with the words, and resolves when its services have been started. Rejects with the error
 * with which it ended before, and with SERVICE_START_TIMEOUT. Where several starts of one folder happen at once, one
 * server remains, and all of them resolve with it.
 */
export async function startInBackground(words: readonly string[], options: BackgroundServerOptions): Promise<ServerFile> {
  mkdirSync(options.logDir, { recursive: true, mode: 0o700 })
  const log = openSync(logFileOf(options), 'a', 0o600)
  const child = spawn(process.execPath, [...process.execArgv, String(process.argv[1]), 'serve', '--background', ...words], {
    detached: true,
    stdio: ['ignore', log, log],
  })
  closeSync(log)
  child.unref()
  return untilReady(options, () => {
    const failure = hasEnded(child) ? failureIn(logFileOf(options), child) : undefined
    if (failure && !isOfOtherStart(failure)) throw failure
  })
}

/**
 * Resolves with the server of the folder when its services have been started. `check` is called while there is no
 * server, and throws where none is to be expected.
 */
export async function untilReady(options: BackgroundServerOptions, check: () => void): Promise<ServerFile> {
  const deadlineMs = performance.now() + options.timeoutMs
  for (; ; await sleep(POLL_MS)) {
    const server = findServer(options.dataDir)
    if (server?.ready) return server
    if (!server) check()
    if (performance.now() > deadlineMs) {
      const message = `the server is not ready after ${options.timeoutMs} ms, see ${logFileOf(options)}`
      throw new OrchestratorError('SERVICE_START_TIMEOUT', message)
    }
  }
}

const logFileOf = ({ logDir }: Pick<BackgroundServerOptions, 'logDir'>): string => join(logDir, 'orchestrator.log')
const hasEnded = ({ exitCode, signalCode }: ChildProcess): boolean => exitCode !== null || signalCode !== null

/** Another start has the folder, and its process still works on it. */
const isOfOtherStart = ({ code, details: { pid } }: OrchestratorError): boolean =>
  code === 'SERVICES_OWNED_ELSEWHERE' && typeof pid === 'number' && isProcessRunning(pid)

/** The server reports its error as the last line of JSON in its log. */
function failureIn(logFile: string, { pid, exitCode, signalCode }: ChildProcess): OrchestratorError {
  for (const line of readLastLines(logFile, 20).toReversed()) {
    const error = errorOf(line)
    if (error) return error
  }
  return new OrchestratorError(
    'SERVER_NOT_RUNNING',
    `the server ${pid} ended with ${signalCode ?? `code ${exitCode}`}, see ${logFile}`,
  )
}

function errorOf(line: string): OrchestratorError | undefined {
  try {
    const { type, error } = JSON.parse(line)
    if (type !== 'failed') return undefined
    return new OrchestratorError(toErrorCode(error.code), String(error.message), { details: { pid: error.details?.pid } })
  } catch {
    return undefined
  }
}
