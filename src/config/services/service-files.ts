import type { Stats } from 'node:fs'
import { constants, open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { ServiceDefinition } from '../../domain/services/service-schema.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { decodeText } from '../decode-text.ts'
import { parseServiceFile, type ServiceFileContent, type ServiceFileProblem } from './service-file.ts'

export interface ServiceFiles {
  readonly services: readonly { readonly file: string; readonly service: ServiceDefinition }[]
  /** Problems of the other files. */
  readonly problems: readonly ServiceFileProblem[]
}

const MAX_FILE_BYTES = 262_144
const MAX_FILES = 1_000
// Bits of `man 7 inode`: the group and others may write.
const WRITABLE_BY_OTHERS = 0o022

/**
 * Reads all service files of a folder (`.yaml`, `.yml`, `.json`), in the order of their names. A bad file is reported
 * and does not keep the others from being read. A folder that does not exist has no services.
 */
export async function readServiceFiles(folder: string): Promise<ServiceFiles> {
  const names = (await listFolder(folder)).filter((name) => /\.(ya?ml|json)$/i.test(name) && !name.startsWith('.')).sort()
  const services: { file: string; service: ServiceDefinition }[] = []
  const problems: ServiceFileProblem[] = []
  if (names.length > MAX_FILES) {
    const message = `expected at most ${MAX_FILES} service files, found ${names.length}`
    return { services, problems: [{ file: folder, path: 'file', message }] }
  }
  const openFolder = names.length === 0 ? undefined : await findOpenFolder(folder)
  if (openFolder !== undefined) return { services, problems: [{ file: folder, path: 'file', message: openFolder }] }
  const fileOf = new Map<string, string>()
  for (const name of names) {
    const file = join(folder, name)
    const content = await readServiceFile(file)
    if (content.problems) problems.push(...content.problems)
    else {
      const { service } = content
      const other = fileOf.get(service.id)
      if (other === undefined) services.push({ file, service })
      else problems.push({ file, path: 'id', message: `expected another id than "${service.id}", which ${other} has` })
      fileOf.set(service.id, file)
    }
  }
  return { services, problems }
}

async function listFolder(folder: string): Promise<readonly string[]> {
  try {
    return await readdir(folder)
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? error.code : undefined
    if (code === 'ENOENT') return []
    throw new OrchestratorError('CONFIG_INVALID', `services.dir: expected a readable folder, found ${String(code)}: ${folder}`)
  }
}

/**
 * Users that may write the folder may put any other file of the owner, or an older one, in the place of a service file;
 * with the sticky bit they may still add a link to one.
 */
async function findOpenFolder(folder: string): Promise<string | undefined> {
  const found = findOnlyWriter(await stat(folder))
  return found && `expected a folder that ${found} may write, because its files name programs${adviceFor(found)}`
}

const OWNER = 'only its owner'
const OPERATOR = 'only the user that runs Polyphony'
/** What to do about it, after the sentence that says who alone may write. */
export const adviceFor = (found: string): string => (found === OWNER ? ': chmod go-w' : '')

/** The only user that should be able to write it, where others can as well. */
export function findOnlyWriter({ mode, uid }: Pick<Stats, 'mode' | 'uid'>): string | undefined {
  if (process.platform === 'win32') return undefined
  if ((mode & WRITABLE_BY_OTHERS) !== 0) return OWNER
  return uid === process.getuid?.() || uid === 0 ? undefined : OPERATOR
}

/** Reads one service file that only the operator can have written. */
export async function readServiceFile(file: string): Promise<ServiceFileContent> {
  const failed = (message: string) => ({ problems: [{ file, path: 'file', message }] })
  try {
    // Opening a pipe would otherwise wait for its writer.
    const handle = await open(file, constants.O_RDONLY | (constants.O_NONBLOCK ?? 0))
    try {
      // The opened file is checked, so that no other one can take its name in between.
      const stats = await handle.stat()
      if (!stats.isFile()) return failed('expected an ordinary file')
      const { size } = stats
      if (size > MAX_FILE_BYTES) return failed(`expected at most ${MAX_FILE_BYTES} bytes, found ${size}`)
      const found = findOnlyWriter(stats)
      if (found) return failed(`expected a file that ${found} may write, because it names a program${adviceFor(found)}`)
      const text = decodeText(await handle.readFile(), { name: file, code: 'SERVICE_INVALID' })
      return await parseServiceFile(file, text)
    } finally {
      await handle.close()
    }
  } catch (error) {
    const { message } = OrchestratorError.from(error, 'SERVICE_INVALID')
    return failed(message)
  }
}
