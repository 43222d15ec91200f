import type { AssistantMessage, FilePart, ModelRequest, ToolMessage, UserMessage } from '../../../domain/execution/model-call.ts'
import { toFileText } from '../../vendor/files/file-text.ts'
import type { ForeignRecord } from '../../vendor/foreign-json.ts'
import type { LoadedFiles } from '../../vendor/loaded-files.ts'
import type { RequestNotes } from '../../vendor/request-notes.ts'
import { type SentKind, sentKindOf, toDataUrl, toUnread } from '../file-parts.ts'

export interface ResponsesInputContext {
  /** Id of the account, which decides whose turns go back unchanged. */
  readonly provider: string
  readonly files: LoadedFiles
  readonly notes: RequestNotes
}

/** The items of a request of the Responses API. */
export const toResponsesInput = ({ messages, model }: ModelRequest, context: ResponsesInputContext): readonly unknown[] =>
  messages.flatMap((message): readonly unknown[] => {
    if (message.role === 'user') return [toUserItem(message, context)]
    if (message.role === 'tool') return [toResultItem(message, context)]
    return toAssistantItems(message, model, context)
  })

function toUserItem({ content, files }: UserMessage, context: ResponsesInputContext): ForeignRecord {
  const parts = files?.length ? toFileParts(files, context) : []
  if (parts.length === 0) return { role: 'user', content }
  return { role: 'user', content: [...(content === '' ? [] : [toTextPart(content)]), ...parts] }
}

const toTextPart = (text: string): ForeignRecord => ({ type: 'input_text', text })

/** Whether the bytes of a file are needed for a request. */
export function isReadForResponses(file: FilePart): boolean {
  return file.vendorFileId === undefined && isSendable(sentKindOf(file))
}

const isSendable = (kind: SentKind | undefined): kind is Exclude<SentKind, 'audio'> => kind !== undefined && kind !== 'audio'

const toFileParts = (given: readonly FilePart[], { files, notes }: ResponsesInputContext): readonly ForeignRecord[] =>
  given.flatMap((file) => {
    const kind = sentKindOf(file)
    if (kind === 'text' && file.vendorFileId === undefined) return [toTextPart(toFileText(file, files.text(file)))]
    if (isSendable(kind)) return [toFilePart(file, kind === 'image', files)]
    notes.leaveOut(...toUnread(file))
    return []
  })

function toFilePart(file: FilePart, isImage: boolean, files: LoadedFiles): ForeignRecord {
  const { name, vendorFileId } = file
  const type = isImage ? 'input_image' : 'input_file'
  if (vendorFileId !== undefined) return { type, ...(isImage && { detail: 'auto' }), file_id: vendorFileId }
  const url = toDataUrl(file, files.base64(file))
  return isImage ? { type, detail: 'auto', image_url: url } : { type, filename: name, file_data: url }
}

function toResultItem({ toolCallId, content, isError, files }: ToolMessage, context: ResponsesInputContext): ForeignRecord {
  const text = isError ? `Error: ${content}` : content
  const parts = files?.length ? toFileParts(files, context) : []
  return {
    type: 'function_call_output',
    call_id: toolCallId,
    output: parts.length === 0 ? text : [toTextPart(text), ...parts],
  }
}

function toAssistantItems(
  { content, toolCalls, vendorTurn }: AssistantMessage,
  model: string,
  { provider }: ResponsesInputContext,
): readonly unknown[] {
  if (vendorTurn?.provider === provider && vendorTurn.model === model) return vendorTurn.blocks
  const calls = (toolCalls ?? []).map(({ id, name, arguments: given }, index) => ({
    type: 'function_call',
    call_id: id ?? `call_${index}`,
    name,
    arguments: given.trim() === '' ? '{}' : given,
  }))
  return content === '' && calls.length > 0 ? calls : [{ role: 'assistant', content }, ...calls]
}
