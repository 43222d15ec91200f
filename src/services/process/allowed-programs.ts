import type { ServiceDefinition } from '../../domain/services/service-schema.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** Absolute paths of the programs that may run; `false`: all that the operator names. */
export type AllowedPrograms = false | readonly string[]

/**
 * Throws SERVICE_EXECUTABLE_REFUSED for a program that is not in the list. Paths are compared as they are written: a
 * name that is found in the PATH may mean another program tomorrow.
 */
export function assertAllowedProgram(
  { id, executable }: Pick<ServiceDefinition, 'id' | 'executable'>,
  allowed: AllowedPrograms,
): void {
  if (!executable || allowed === false || allowed.includes(executable[0])) return
  const [program] = executable
  const message = `expected the program of "${id}" to be a path of services.allowExecutables, found ${JSON.stringify(program)}`
  throw new OrchestratorError('SERVICE_EXECUTABLE_REFUSED', message, { details: { service: id, program } })
}
