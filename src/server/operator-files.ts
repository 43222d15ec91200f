import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { PolyphonyConfig } from '../config/config.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { lockFile } from '../system/locks/file-lock.ts'
import { ensurePrivateDirectory } from '../system/private-directory.ts'
import { createControlToken, readServerFile, removeServerFile, writeServerFile } from '../system/server-file.ts'

/** The files with which the command line of the operator finds and controls a server. */
export interface OperatorFiles {
  readonly controlToken: string
  /** Path of the log of the server; its folder exists. */
  readonly logFile: string
  /** Writes the address; `ready` states whether the services that start with the server have been started. */
  write(url: string, ready: boolean): void
  /** Removes the address and releases the folder. */
  remove(): Promise<void>
}

export interface OperatorFilesOptions {
  /** Whether the server was started in the background, which always writes its files. */
  readonly isBackground: boolean
}

/**
 * Prepares the files of a server in the background, and of one with a log folder or service files; undefined for every
 * other server. Rejects with SERVICES_OWNED_ELSEWHERE while another server has the folder, and with CONFIG_INVALID for
 * a folder that other users may write.
 */
export async function createOperatorFiles(
  { services, sources }: PolyphonyConfig,
  { isBackground }: OperatorFilesOptions,
): Promise<OperatorFiles | undefined> {
  if (!isBackground && !sources.has('services.logDir') && !hasServiceFiles(resolve(services.dir))) return undefined
  const dataDir = resolve(services.dataDir)
  const logDir = services.logDir === undefined ? join(dataDir, 'logs') : resolve(services.logDir)
  for (const [key, folder] of [
    ['services.dataDir', dataDir],
    ['services.logDir', logDir],
  ] as const) {
    ensure(key, folder)
  }
  // The lock precedes everything that a second server of the folder could damage, such as the file with the address.
  const lock = await lockFile(join(dataDir, 'server.lock'), ({ holder }) => ownedElsewhere(dataDir, holder?.pid))
  const controlToken = createControlToken()
  return {
    controlToken,
    logFile: join(logDir, 'orchestrator.log'),
    write: (url, ready) => writeServerFile(dataDir, { url, token: controlToken, ready }),
    remove() {
      removeServerFile(dataDir)
      return lock.release()
    },
  }
}

function ownedElsewhere(dataDir: string, holder: number | undefined): OrchestratorError {
  const other = readServerFile(dataDir)
  const pid = holder ?? other?.pid
  const url = other?.pid === pid ? other?.url : undefined
  const found = `that of process ${pid ?? 'unknown'}${url === undefined ? '' : ` at ${url}`}`
  const message = `expected a folder of its own for this server, found ${found}: ${dataDir}`
  return new OrchestratorError('SERVICES_OWNED_ELSEWHERE', message, { details: { pid, url } })
}

function ensure(key: string, folder: string): void {
  try {
    ensurePrivateDirectory(folder, { mayBeRead: true })
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new OrchestratorError('CONFIG_INVALID', `${key}: ${message}`, { details: { key }, cause: error })
  }
}

function hasServiceFiles(folder: string): boolean {
  try {
    return readdirSync(folder).some((name) => /^[^.].*\.(ya?ml|json)$/i.test(name))
  } catch {
    return false
  }
}
