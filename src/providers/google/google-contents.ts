import type { Content as TextContent } from '@google/generative-ai'
import type { AssistantMessage, FilePart, ModelRequest, ToolMessage } from '../../domain/execution/model-call.ts'
import { type ForeignRecord, listOf, recordOf, textOf } from '../vendor/foreign-json.ts'
import type { LoadedFiles } from '../vendor/loaded-files.ts'
import type { RequestNotes } from '../vendor/request-notes.ts'
import { toFileParts } from './google-files.ts'
import { googleAbilitiesOf } from './google-models.ts'

/** The SDK's type without its types of parts, which lack signatures and the files of results. */
export interface Content extends Pick<TextContent, 'role'> {
  readonly parts: readonly unknown[]
}

export interface ContentsContext {
  readonly request: ModelRequest
  /** Id of the provider. */
  readonly provider: string
  readonly files: LoadedFiles
  readonly notes: RequestNotes
}

/**
 * Signature that the API accepts for calls that it did not write itself, such as those of another model. From Gemini
 * 3 on it rejects the first call of a turn without a signature (ai.google.dev/gemini-api/docs/thought-signatures,
 * November 2026).
 */
const FOREIGN_SIGNATURE = 'skip_thought_signature_validator'

export const toTextContent = (role: string, text: string): TextContent => ({ role, parts: [{ text }] })

/** Converts messages. The results of one turn become one content, in the order of the calls. */
export function toContents(context: ContentsContext): readonly Content[] {
  const contents: Content[] = []
  let calling: AssistantMessage | undefined
  let results: ToolMessage[] = []
  const endTurn = () => {
    if (results.length > 0) contents.push({ role: 'user', parts: toResultParts(results, calling, context) })
    results = []
  }
  for (const message of context.request.messages) {
    if (message.role === 'tool') {
      results.push(message)
      continue
    }
    endTurn()
    if (message.role === 'assistant') {
      calling = message
      contents.push({ role: 'model', parts: toModelParts(message, context) })
    } else {
      const files = partsOf(message.files, context)
      // The documentation recommends media before the question about them.
      if (files.length === 0) contents.push(toTextContent('user', message.content))
      else contents.push({ role: 'user', parts: [...files, ...(message.content === '' ? [] : [{ text: message.content }])] })
    }
  }
  endTurn()
  return contents
}

/** The parts of a turn if this provider and model wrote it. Only then may they be sent back. */
const replayedParts = ({ vendorTurn: turn }: AssistantMessage, { request, provider }: ContentsContext) =>
  turn?.provider === provider && turn.model === request.model && turn.blocks.length > 0 ? turn.blocks : undefined

function toModelParts(message: AssistantMessage, context: ContentsContext): readonly unknown[] {
  const { content, toolCalls = [] } = message
  const replayed = replayedParts(message, context)
  if (replayed) return replayed
  const needsSignature = googleAbilitiesOf(context.request.model).combines
  const calls = toolCalls.map(({ name, arguments: text }, index) => ({
    functionCall: { name, args: toArguments(text) },
    ...(index === 0 && needsSignature && { thoughtSignature: FOREIGN_SIGNATURE }),
  }))
  return content === '' && calls.length > 0 ? calls : [{ text: content }, ...calls]
}

/** Arguments must be an object. Other text is wrapped. */
function toArguments(text: string): ForeignRecord {
  try {
    const value: unknown = JSON.parse(text === '' ? '{}' : text)
    if (typeof value === 'object' && value !== null && !Array.isArray(value)) return recordOf(value)
  } catch {
    // Wrapped below.
  }
  return { INVALID_JSON: text }
}

/**
 * The results in the order of their calls. A result has the id that Google gave its call. Older models send no ids:
 * their results are matched by name and order.
 */
function toResultParts(
  results: readonly ToolMessage[],
  calling: AssistantMessage | undefined,
  context: ContentsContext,
): readonly unknown[] {
  const ids = (calling?.toolCalls ?? []).map(({ id }) => id)
  const replayed = calling && replayedParts(calling, context)
  const sentCalls = listOf(replayed).flatMap((part) => {
    const call = recordOf(part).functionCall
    return call === undefined ? [] : [recordOf(call)]
  })
  const ordered = results.map((result, order) => {
    const index = ids.indexOf(result.toolCallId)
    return { result, index: index < 0 ? order : index }
  })
  ordered.sort((a, b) => a.index - b.index)
  const after: ForeignRecord[] = []
  const responses = ordered.map(({ result, index }) => toResponse(result, textOf(sentCalls[index]?.id), after, context))
  return [...responses, ...after]
}

/** Gemini 3 reads files inside a result; for older models they stand after the results. */
function toResponse(
  { toolName, content, isError, files }: ToolMessage,
  id: string | undefined,
  after: ForeignRecord[],
  context: ContentsContext,
): ForeignRecord {
  const parts = partsOf(files, context)
  const isInside = googleAbilitiesOf(context.request.model).combines
  const media = isInside ? parts.filter(({ text }) => text === undefined) : []
  after.push(...parts.filter((part) => !media.includes(part)))
  return {
    functionResponse: {
      ...(id && { id }),
      name: toolName,
      response: isError ? { error: content } : { output: content },
      ...(media.length > 0 && { parts: media }),
    },
  }
}

const NO_PARTS: readonly ForeignRecord[] = []

const partsOf = (files: readonly FilePart[] | undefined, { request, files: loaded, notes }: ContentsContext) =>
  files && files.length > 0 ? toFileParts(files, request.model, loaded, notes) : NO_PARTS
