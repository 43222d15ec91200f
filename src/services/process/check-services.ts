import { resolve } from 'node:path'
import { serviceFilesInvalid } from '../../config/services/service-file.ts'
import { readServiceFiles } from '../../config/services/service-files.ts'
import type { ServiceDefinition } from '../../domain/services/service-schema.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type AllowedPrograms, assertAllowedProgram } from './allowed-programs.ts'
import { checkStart } from './executable.ts'

/** What would keep a service from starting, or from having its limits. */
export interface ServiceCheck {
  /** Id of the service, or path of the file. */
  readonly service: string
  readonly ok: boolean
  readonly warning?: boolean
  readonly message: string
}

/** Checks all service files of a folder and what they need of this machine. Starts nothing. */
export async function checkServices(folder: string, allowed: AllowedPrograms): Promise<readonly ServiceCheck[]> {
  const { services, problems } = await readServiceFiles(folder)
  const ids = new Set(services.map(({ service }) => service.id))
  const bad = problems.map((problem) => ({ service: problem.file, ok: false, message: serviceFilesInvalid([problem]).message }))
  const checked = await Promise.all(services.map(({ service }) => checkService(service, ids, allowed)))
  return [...bad, ...checked.flat()]
}

async function checkService(
  service: ServiceDefinition,
  ids: ReadonlySet<string>,
  allowed: AllowedPrograms,
): Promise<readonly ServiceCheck[]> {
  const { id, executable, dependsOn, limits, orphans } = service
  const missing = dependsOn.filter((other) => !ids.has(other))
  const findings: ServiceCheck[] = []
  if (missing.length > 0)
    findings.push({ service: id, ok: false, message: `depends on ${missing.join(', ')}, which no file defines` })
  if (executable) {
    const failure = await findFailure(service, executable, allowed)
    if (failure !== undefined) findings.push({ service: id, ok: false, message: failure })
  }
  const warn = (message: string) => findings.push({ service: id, ok: true, warning: true, message })
  if (limits.cpu !== undefined) warn(`cpu ${limits.cpu}%: not enforced, the program runs with a lower priority`)
  if (limits.memory !== undefined && process.platform !== 'linux')
    warn('memory: measured every few seconds, without a hard limit')
  if (orphans === 'adopt') warn('orphans: adopt: a container or systemd unit that ends takes the process with it')
  return findings.some(({ ok }) => !ok) ? findings : [{ service: id, ok: true, message: 'can start' }, ...findings]
}

async function findFailure(
  { id, executable, cwd, port, environment, stop, orphans }: ServiceDefinition,
  command: readonly [string, ...string[]],
  allowed: AllowedPrograms,
): Promise<string | undefined> {
  try {
    assertAllowedProgram({ id, executable }, allowed)
    await checkStart({
      id,
      command,
      cwd: resolve(cwd ?? '.'),
      environment: { PATH: process.env.PATH ?? '', ...environment },
      stopSignal: stop.signal ?? 'SIGTERM',
      killTimeoutMs: 0,
      orphans,
      limits: {},
      definitionHash: '',
      ...(typeof port === 'number' && { port }),
    })
    return undefined
  } catch (error) {
    return OrchestratorError.from(error).message
  }
}
