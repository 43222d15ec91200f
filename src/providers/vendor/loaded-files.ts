import { untilAborted } from '../../async/until-aborted.ts'
import type { FilePart, ModelMessage, ModelRequest } from '../../domain/execution/model-call.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** The bytes of a request's files, while its body is built. */
export interface LoadedFiles {
  /** Bytes as base64, encoded once. Throws for a file that was not read. */
  base64(file: FilePart): string
  /** Bytes as UTF-8 text. Throws for a file that was not read. */
  text(file: FilePart): string
  /** The texts that were read with `text`, which must not appear in error messages. */
  texts(): readonly string[]
}

const NO_FILE_PARTS: readonly FilePart[] = []
const filesOfMessage = (message: ModelMessage): readonly FilePart[] =>
  message.role === 'assistant' ? NO_FILE_PARTS : (message.files ?? NO_FILE_PARTS)

/** All files of a request in order, those of tool results included. */
export const filesOf = ({ messages }: ModelRequest): readonly FilePart[] =>
  messages.some((message) => filesOfMessage(message).length > 0) ? messages.flatMap(filesOfMessage) : NO_FILE_PARTS

/** The refusal of a file of which only the vendor has the bytes, and which its API does not take by its id. */
export const vendorFileRefused = ({ name, mediaType }: FilePart): OrchestratorError =>
  new OrchestratorError(
    'PROVIDER_REJECTED',
    `Expected the bytes of file "${name}" (${mediaType}), found the id of a vendor's file: here files of this type are not taken by their ids. Attach its bytes`,
    { details: { file: name, mediaType } },
  )

/**
 * Reads files, each content once, or returns undefined if there are none, so that requests without files need not wait.
 * Rejects with the error of a file that cannot be read, with PROVIDER_REJECTED for one whose bytes only the vendor has,
 * and with `signal.reason` as soon as the signal aborts.
 */
export function loadFiles(files: readonly FilePart[], signal: AbortSignal): Promise<LoadedFiles> | undefined {
  return files.length === 0 ? undefined : load(files, signal)
}

/** Files with the same bytes have the same key. */
const keyOf = (file: FilePart): FilePart | string => file.sha256 ?? file

async function load(files: readonly FilePart[], signal: AbortSignal): Promise<LoadedFiles> {
  signal.throwIfAborted()
  const held = files.find(({ vendorFileId }) => vendorFileId !== undefined)
  if (held) throw vendorFileRefused(held)
  const distinct = new Map(files.map((file) => [keyOf(file), file]))
  const read = [...distinct].map(async ([key, file]) => [key, await file.read()] as const)
  return toLoadedFiles(new Map(await untilAborted(Promise.all(read), signal)))
}

function toLoadedFiles(contents: ReadonlyMap<FilePart | string, Uint8Array>): LoadedFiles {
  const encoded = new Map<FilePart | string, string>()
  const decoded = new Map<FilePart | string, string>()

  function once(kept: Map<FilePart | string, string>, file: FilePart, toText: (bytes: Buffer) => string): string {
    const key = keyOf(file)
    const known = kept.get(key)
    if (known !== undefined) return known
    const bytes = contents.get(key)
    if (!bytes) throw new Error(`File "${file.name}" was not read before the request was built`)
    const text = toText(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
    kept.set(key, text)
    return text
  }

  return {
    base64: (file) => once(encoded, file, (bytes) => bytes.toString('base64')),
    text: (file) => once(decoded, file, (bytes) => bytes.toString('utf8')),
    texts: () => [...decoded.values()],
  }
}

/** For requests without files. */
export const NO_LOADED_FILES: LoadedFiles = toLoadedFiles(new Map())
