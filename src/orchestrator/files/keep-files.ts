import type { CancellationToken } from '../../async/cancellation-token.ts'
import type { GeneratedFile } from '../../domain/execution/model-call.ts'
import type { RepeatWrite, ResolveAttachments } from '../../domain/users/new-attachment.ts'
import type { Attachment } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowExecution } from '../flow-run.ts'
import { repeatRead } from '../repeat-read.ts'

/** The files of an answer as they were stored, and a note on each that was not. */
export interface KeptFiles {
  readonly files: readonly Attachment[]
  readonly notes: readonly string[]
}

/** Refusals of a file itself, which the same file would get again. */
const REFUSALS: ReadonlySet<string> = new Set(['FILE_TOO_LARGE', 'INPUT_INVALID'])

/**
 * Stores the files that a model or a tool made, with the thread of the flow. An answer is paid for, so a file that is
 * refused, for example because the user's files would exceed their limit, becomes a note, and a database that does not
 * answer is waited for. Rejects with every other error, and with the reason of a cancelled token.
 */
export async function keepFiles(
  store: ResolveAttachments,
  { userId, threadId, cancellation }: Pick<FlowExecution, 'userId' | 'threadId' | 'cancellation'>,
  made: readonly GeneratedFile[],
  ofStep?: CancellationToken,
): Promise<KeptFiles> {
  const files: Attachment[] = []
  const notes: string[] = []
  const repeat: RepeatWrite = (write) => repeatRead(write, [cancellation, ofStep])
  for (const [index, { name = `file ${index + 1}`, mediaType, data }] of made.entries()) {
    try {
      files.push(...(await store(userId, threadId, [{ name, mediaType, data }], repeat)))
    } catch (error) {
      if (!OrchestratorError.is(error) || !REFUSALS.has(error.code)) throw error
      notes.push(`"${name}" was not kept (${error.code}): ${error.message}`)
    }
  }
  return { files, notes }
}
