import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { ensurePrivateDirectory, readPrivateFile, writePrivateFile } from './private-directory.ts'
import { findStart, isSameProcess } from './process-table.ts'

/** How the command line finds a server of this machine. The file is readable by the user of the server only. */
export interface ServerFile {
  readonly url: string
  readonly pid: number
  /** Boot and start of the process: a pid alone may belong to another process by now. */
  readonly started: string
  /** Token with which the command line of the operator controls the server. */
  readonly token: string
  /** Whether the services that start with the server have been started. */
  readonly ready: boolean
}

const fileOf = (dataDir: string): string => join(dataDir, 'server.json')
const pidFileOf = (dataDir: string): string => join(dataDir, 'orchestrator.pid')

export const createControlToken = (): string => `ctl_${randomBytes(32).toString('base64url')}`

/** Writes `server.json` and `orchestrator.pid` of this process. Throws an Error for a folder that others may read. */
export function writeServerFile(dataDir: string, { url, token, ready }: Pick<ServerFile, 'url' | 'token' | 'ready'>): void {
  // A folder that exists may be readable: the file with the token is not.
  ensurePrivateDirectory(dataDir, { mayBeRead: true })
  const started = findStart(process.pid) ?? 'unknown'
  writePrivateFile(pidFileOf(dataDir), `${process.pid}\n`)
  writePrivateFile(fileOf(dataDir), JSON.stringify({ url, pid: process.pid, started, token, ready }))
}

/**
 * What the folder says about a server; undefined without a valid file. The server may have ended since. Throws
 * CONFIG_INVALID for a file that another user may have written: it could name any process of this user as the server,
 * to have it ended.
 */
export function readServerFile(dataDir: string): ServerFile | undefined {
  const text = readOwn(fileOf(dataDir))
  if (text === undefined) return undefined
  try {
    const value: unknown = JSON.parse(text)
    return isServerFile(value) ? value : undefined
  } catch {
    return undefined
  }
}

function readOwn(path: string): string | undefined {
  try {
    return readPrivateFile(path)
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error)
    throw new OrchestratorError('CONFIG_INVALID', `services.dataDir: ${message}`, {
      details: { key: 'services.dataDir' },
      cause: error,
    })
  }
}

/** Whether the process that wrote the file still runs. */
export const isServerRunning = ({ pid, started }: Pick<ServerFile, 'pid' | 'started'>): boolean => isSameProcess({ pid, started })

/** Removes the files if this process wrote them; another server may have taken the folder since. */
export function removeServerFile(dataDir: string): void {
  if (readIfOwn(dataDir)?.pid !== process.pid) return
  for (const path of [fileOf(dataDir), pidFileOf(dataDir)]) rmSync(path, { force: true })
}

/** A server that ends must not fail at a file that others have replaced. */
function readIfOwn(dataDir: string): ServerFile | undefined {
  try {
    return readServerFile(dataDir)
  } catch {
    return undefined
  }
}

/** Removes the files of a server that was killed, so that nothing names its process any more. */
export function removeFilesOfEnded(dataDir: string): void {
  const server = readServerFile(dataDir)
  if (server === undefined || isServerRunning(server)) return
  for (const path of [fileOf(dataDir), pidFileOf(dataDir)]) rmSync(path, { force: true })
}

/** Checked by hand, as the command line loads no schemas at its start. A pid up to 1 would mean other processes. */
function isServerFile(value: unknown): value is ServerFile {
  if (typeof value !== 'object' || value === null) return false
  if (!('url' in value && 'pid' in value && 'started' in value && 'token' in value && 'ready' in value)) return false
  const { url, pid, started, token, ready } = value
  const areTexts = typeof url === 'string' && typeof started === 'string' && typeof token === 'string'
  return areTexts && typeof ready === 'boolean' && typeof pid === 'number' && Number.isInteger(pid) && pid > 1
}
