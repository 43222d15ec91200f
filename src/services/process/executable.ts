import { accessSync, constants, statSync } from 'node:fs'
import { delimiter, isAbsolute, join, resolve } from 'node:path'
import type { ServiceProcess } from '../../domain/services/service-definition.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { findPortOwner, isPortFree } from '../../system/ports.ts'

/**
 * Checks everything that would make a start fail, because the error of `spawn` for a missing directory names the
 * program. Resolves with the absolute path of the program. Rejects with SERVICE_START_FAILED or SERVICE_PORT_TAKEN.
 */
export async function checkStart({ id, command: [program], cwd, environment, port }: ServiceProcess): Promise<string> {
  if (!isDirectory(cwd)) throw startFailed(id, `its working directory must exist, and ${cwd} does not`)
  const path = findProgram(program, cwd, environment.PATH ?? '')
  if (!path) throw startFailed(id, `its program must be an executable file, and ${program} was not found ${whereOf(program)}`)
  if (port !== undefined && !(await isPortFree(port))) throw portTaken(id, port)
  return path
}

export const startFailed = (id: string, found: string, cause?: unknown): OrchestratorError =>
  new OrchestratorError('SERVICE_START_FAILED', `The service ${id} could not be started: ${found}.`, {
    details: { service: id },
    cause,
  })

function portTaken(id: string, port: number): OrchestratorError {
  const pid = findPortOwner(port)
  const owner = pid === undefined ? 'another program' : `process ${pid}`
  return new OrchestratorError('SERVICE_PORT_TAKEN', `The service ${id} needs port ${port}, where ${owner} listens.`, {
    details: { service: id, port, ...(pid !== undefined && { pid }) },
  })
}

const whereOf = (program: string): string => (program.includes('/') ? 'there' : 'in the PATH of the service')

/** As `execvp` finds it: a name with a slash is a path from the working directory, any other is in the PATH. */
function findProgram(program: string, cwd: string, path: string): string | undefined {
  if (program === '' || program.includes('\0')) return undefined
  if (program.includes('/')) return [resolve(cwd, program)].find(isExecutable)
  return path
    .split(delimiter)
    .map((folder) => join(isAbsolute(folder) ? folder : resolve(cwd, folder), program))
    .find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return statSync(path).isFile()
  } catch {
    return false
  }
}

function isDirectory(path: string): boolean {
  try {
    return statSync(path).isDirectory()
  } catch {
    return false
  }
}
