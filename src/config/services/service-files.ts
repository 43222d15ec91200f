import { open, readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import type { ServiceDefinition } from '../../domain/services/service-schema.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { decodeText } from '../decode-text.ts'
import { parseServiceFile, type ServiceFileProblem } from './service-file.ts'

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
  const fileOf = new Map<string, string>()
  for (const name of names) {
    const file = join(folder, name)
    const content = await readOne(file)
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

async function readOne(file: string) {
  const failed = (message: string) => ({ problems: [{ file, path: 'file', message }] })
  try {
    // Opening a pipe would wait for its writer.
    if (!(await stat(file)).isFile()) return failed('expected an ordinary file')
    const handle = await open(file, 'r')
    try {
      // The opened file is checked, so that no other one can take its name in between.
      const { size, mode, uid } = await handle.stat()
      if (size > MAX_FILE_BYTES) return failed(`expected at most ${MAX_FILE_BYTES} bytes, found ${size}`)
      if (process.platform !== 'win32') {
        if ((mode & WRITABLE_BY_OTHERS) !== 0) {
          return failed('expected a file that only its owner may write, because it names a program: chmod go-w')
        }
        if (uid !== process.getuid?.() && uid !== 0) return failed('expected a file of the user that runs Polyphony')
      }
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
