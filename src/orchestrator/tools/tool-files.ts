import type { FilePart, GeneratedFile } from '../../domain/execution/model-call.ts'
import type { ToolResult } from '../../domain/tools/turns.ts'
import type { ResolveAttachments } from '../../domain/users/new-attachment.ts'
import type { Attachment } from '../../domain/users/thread.ts'
import { keepFiles } from '../files/keep-files.ts'
import type { StepTask } from '../steps/step-inputs.ts'

/** Files of one result that are stored. More are left out, so that a tool cannot fill the list of a thread. */
const MAX_FILES = 50

export interface ToolFilesOptions {
  /** Tokens of all files together that the model may receive. */
  readonly maxTokens: number
  /** Upper estimate of the tokens of one file for the model. */
  readonly tokensOf: (file: Pick<FilePart, 'mediaType' | 'byteLength'>) => number
}

/** The stored files of a result, and what its text says about them; empty without any. */
export interface ToolFiles extends Pick<ToolResult, 'files' | 'hiddenFiles'> {
  readonly text: string
}

/**
 * Stores the files that a tool returned, with the thread of the flow. A file that cannot be stored, or that the model
 * cannot receive within `maxTokens`, is named in the text: the call was made, so its result stands. Rejects as
 * `keepFiles` does.
 */
export async function keepToolFiles(
  store: ResolveAttachments,
  { run, options }: Pick<StepTask, 'run' | 'options'>,
  made: readonly GeneratedFile[],
  { maxTokens, tokensOf }: ToolFilesOptions,
): Promise<ToolFiles> {
  if (made.length === 0) return { text: '' }
  const { files: kept, notes } = await keepFiles(store, run, made.slice(0, MAX_FILES), options.cancellation)
  const files: Attachment[] = []
  const hiddenFiles: Attachment[] = []
  let tokens = 0
  for (const attachment of kept) {
    const size = tokensOf({ mediaType: attachment.mediaType, byteLength: attachment.file?.byteLength ?? 0 })
    const isShown = tokens + size <= maxTokens
    if (isShown) tokens += size
    const list = isShown ? files : hiddenFiles
    list.push(attachment)
  }
  const lines = [
    ...named('files', files),
    ...named(`files that are stored and not shown, because of maxResultTokens ${maxTokens}`, hiddenFiles),
    ...notes.map((note) => `[${note}]`),
    ...(made.length > MAX_FILES
      ? [`[${made.length - MAX_FILES} of ${made.length} files were not kept: at most ${MAX_FILES}]`]
      : []),
  ]
  return {
    text: lines.join('\n'),
    ...(files.length > 0 && { files }),
    ...(hiddenFiles.length > 0 && { hiddenFiles }),
  }
}

const named = (title: string, files: readonly Attachment[]): readonly string[] =>
  files.length === 0 ? [] : [`[${title}: ${files.map(({ name }) => name).join(', ')}]`]
