import { createReadStream, createWriteStream } from 'node:fs'
import { rm } from 'node:fs/promises'
import { pipeline } from 'node:stream/promises'
import { createGunzip, createGzip } from 'node:zlib'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { ExportSink } from '../services.ts'

/** The name that stands for standard output or standard input. */
const STANDARD_STREAM = '-'

const isCompressed = (file: string): boolean => file.endsWith('.gz')

const codeOf = (error: unknown): unknown => (error instanceof Error && 'code' in error ? error.code : undefined)

/** Problems with the file itself, by the code of the error. */
const FILE_PROBLEMS: Readonly<Record<string, string>> = {
  EEXIST: 'expected a new file, found an existing one: remove it or choose another name',
  ENOENT: 'expected a path that exists, found nothing',
  EISDIR: 'expected a file, found a directory',
  ENOTDIR: 'expected a directory on the way to the file, found a file',
  EACCES: 'expected access, found that the file system refuses it',
  EROFS: 'expected a writable file system, found one that is read-only',
  ENOSPC: 'expected space for the file, found the disk full',
  Z_DATA_ERROR: 'expected a gzip file, found other or damaged bytes',
  Z_BUF_ERROR: 'expected a whole gzip file, found one that was cut',
}

function toFileError(file: string, error: unknown): unknown {
  const problem = FILE_PROBLEMS[String(codeOf(error))]
  return problem === undefined ? error : new OrchestratorError('INPUT_INVALID', `${file}: ${problem}`, { cause: error })
}

/**
 * Writes to a new file that only its owner may read, compressed if its name ends with `.gz`; `-` is standard output. A
 * file that cannot be completed is removed. Rejects with INPUT_INVALID for an existing file.
 */
export const createFileSink =
  (file: string): ExportSink =>
  async (chunks) => {
    if (file === STANDARD_STREAM) return pipeline(chunks, process.stdout, { end: false })
    const output = createWriteStream(file, { flags: 'wx', mode: 0o600 })
    try {
      await (isCompressed(file) ? pipeline(chunks, createGzip(), output) : pipeline(chunks, output))
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') await rm(file, { force: true })
      throw toFileError(file, error)
    }
  }

/** Reads a file, decompressed if its name ends with `.gz`; `-` is standard input. Throws INPUT_INVALID. */
export async function* readFileChunks(file: string): AsyncGenerator<Uint8Array> {
  const input = file === STANDARD_STREAM ? process.stdin : createReadStream(file)
  const chunks: AsyncIterable<Uint8Array> = isCompressed(file) ? input.compose(createGunzip()) : input
  try {
    yield* chunks
  } catch (error) {
    throw toFileError(file, error)
  }
}
