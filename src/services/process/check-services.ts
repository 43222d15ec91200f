import { realpath, stat } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'
import { serviceFilesInvalid } from '../../config/services/service-file.ts'
import { adviceFor, findOnlyWriter, readServiceFiles } from '../../config/services/service-files.ts'
import type { ServiceDefinition } from '../../domain/services/service-schema.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { remoteAdvertised } from '../problems.ts'
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
  const warn = (message: string) => findings.push({ service: id, ok: true, warning: true, message })
  if (missing.length > 0)
    findings.push({ service: id, ok: false, message: `depends on ${missing.join(', ')}, which no file defines` })
  if (executable) {
    const start = await tryStart(service, executable, allowed)
    if ('failure' in start) findings.push({ service: id, ok: false, message: start.failure })
    else for (const found of await findWritable(start.program)) warn(found)
  }
  if (!executable && service.advertise !== undefined) {
    findings.push({ service: id, ok: false, message: remoteAdvertised(id).message })
  }
  if (limits.cpu !== undefined) warn(`cpu ${limits.cpu}%: not enforced, the program runs with a lower priority`)
  if (limits.memory !== undefined && process.platform !== 'linux')
    warn('memory: measured every few seconds, without a hard limit')
  if (orphans === 'adopt') warn('orphans: adopt: a container or systemd unit that ends takes the process with it')
  return findings.some(({ ok }) => !ok) ? findings : [{ service: id, ok: true, message: 'can start' }, ...findings]
}

/** Resolves with the path of the program, or with what would keep it from starting. */
async function tryStart(
  { id, executable, cwd, port, environment, stop, orphans }: ServiceDefinition,
  command: readonly [string, ...string[]],
  allowed: AllowedPrograms,
): Promise<{ readonly program: string } | { readonly failure: string }> {
  try {
    assertAllowedProgram({ id, executable }, allowed)
    const program = await checkStart({
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
    return { program }
  } catch (error) {
    return { failure: OrchestratorError.from(error).message }
  }
}

/** In a folder with this bit only the owner of a file may rename or remove it: see `man 7 inode`. */
const STICKY = 0o1000

/** Users that may write a program, or put another one in its stead, decide what its service does. */
async function findWritable(program: string): Promise<readonly string[]> {
  try {
    const path = await realpath(program)
    const folder = dirname(path)
    const [file, around] = await Promise.all([stat(path), stat(folder)])
    const writer = findOnlyWriter(file)
    const folderWriter = (around.mode & STICKY) === 0 ? findOnlyWriter(around) : undefined
    return [
      ...(writer ? [`program ${path}: expected a file that ${writer} may write${adviceFor(writer)}`] : []),
      ...(folderWriter ? [`program ${path}: expected a folder that ${folderWriter} may write${adviceFor(folderWriter)}`] : []),
    ]
  } catch (error) {
    // A program can be executed where its folder cannot be read.
    return [`program ${program}: its writers are not known (${OrchestratorError.from(error).message})`]
  }
}
