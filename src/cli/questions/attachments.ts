import { readFile } from 'node:fs/promises'
import { basename } from 'node:path'
import type { NewAttachment } from '../../domain/users/new-attachment.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** Reads the files of `--attach`. Rejects with INPUT_INVALID, which names the file that cannot be read. */
export const readAttachments = (paths: readonly string[]): Promise<readonly NewAttachment[]> =>
  Promise.all(
    paths.map(async (path) => {
      const data = await readFile(path).catch((cause: NodeJS.ErrnoException) => {
        const reason = cause.code === 'ENOENT' ? 'there is no such file' : cause.code === 'EISDIR' ? 'it is a folder' : cause.code
        throw new OrchestratorError('INPUT_INVALID', `--attach ${path}: expected a file that can be read: ${reason}`, { cause })
      })
      return { name: basename(path), data: new Uint8Array(data) }
    }),
  )
