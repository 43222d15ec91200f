import type { AssistantMessage, ModelMessage, ModelRequest, ToolChoice, ToolMessage } from '../../domain/execution/model-call.ts'
import { createRequestNotes, type RequestNotes } from '../vendor/request-notes.ts'
import { type FileTarget, toResultFile, toUserFile } from './ai-sdk-files.ts'
import type { AiSdkCall } from './ai-sdk-model.ts'
import { toProviderOptions } from './ai-sdk-options.ts'

export interface OutgoingCall {
  readonly call: Omit<AiSdkCall, 'abortSignal'>
  readonly notes: readonly string[]
}

export interface CallTarget extends FileTarget {
  /** Id of the provider. */
  readonly provider: string
}

/** The efforts that specification 4 knows as well; further vendor settings go through `settings.options`. */
const SHARED_EFFORTS: readonly unknown[] = ['none', 'minimal', 'low', 'medium', 'high', 'max']
const IN_OPTIONS = 'set it in options of this provider'

/**
 * Builds a call of the AI SDK. Files are read here, so once per attempt. Rejects with PROVIDER_REJECTED for options
 * that Polyphony sets itself, for a file that the model does not take by its id, and for a strict request of which
 * something would be left out.
 */
export async function toAiSdkCall(request: ModelRequest, target: CallTarget): Promise<OutgoingCall> {
  const { settings, system, messages, outputSchema, tools, toolChoice } = request
  const { provider } = target
  const notes = createRequestNotes()
  const effort = toEffort(request, target, notes)
  leaveOut(request, notes)
  const providerOptions = toProviderOptions(request, provider)
  notes.checkStrict(request, provider)
  const isOwn = (message: AssistantMessage) =>
    message.vendorTurn?.provider === provider && message.vendorTurn.model === request.model
  const prompt = await Promise.all(
    messages.map((message) =>
      message.role === 'assistant' && isOwn(message)
        ? { role: 'assistant', content: message.vendorTurn?.blocks }
        : toMessage(message, target),
    ),
  )
  const call = {
    prompt: system === undefined ? prompt : [{ role: 'system', content: system }, ...prompt],
    ...(settings.maxTokens !== undefined && { maxOutputTokens: settings.maxTokens }),
    ...(settings.temperature !== undefined && { temperature: settings.temperature }),
    ...(settings.topP !== undefined && { topP: settings.topP }),
    ...(settings.stopSequences?.length && { stopSequences: [...settings.stopSequences] }),
    ...(settings.seed !== undefined && { seed: settings.seed }),
    ...(effort !== undefined && { reasoning: effort }),
    ...(outputSchema && { responseFormat: { type: 'json', schema: outputSchema, name: 'answer' } }),
    ...(tools?.length && {
      tools: tools.map(({ parameters, ...tool }) => ({ type: 'function', ...tool, inputSchema: parameters })),
    }),
    ...(toolChoice !== undefined && { toolChoice: toChoice(toolChoice) }),
    ...(providerOptions && { providerOptions }),
  }
  return { call, notes: notes.list() }
}

function toEffort({ settings: { reasoning } }: ModelRequest, { version }: CallTarget, notes: RequestNotes): unknown {
  if (reasoning === undefined || (version === 'v4' && SHARED_EFFORTS.includes(reasoning))) return reasoning
  notes.leaveOut('reasoning', IN_OPTIONS)
  return undefined
}

/** What no specification has a field for. `auto` leaves the caching of prompts to the vendor, which is what happens. */
function leaveOut({ settings: { parallelToolCalls, cache = 'auto' }, hostedTools }: ModelRequest, notes: RequestNotes): void {
  if (parallelToolCalls !== undefined) notes.leaveOut('parallelToolCalls', IN_OPTIONS)
  if (cache !== 'auto') notes.leaveOut('cache', IN_OPTIONS)
  if (hostedTools?.length) notes.leaveOut('hostedTools', hostedTools.join(', '))
}

const toChoice = (choice: ToolChoice) => (typeof choice === 'string' ? { type: choice } : { type: 'tool', toolName: choice.name })

async function toMessage(message: ModelMessage, target: CallTarget): Promise<unknown> {
  if (message.role === 'user') {
    const files = await Promise.all((message.files ?? []).map((file) => toUserFile(file, target)))
    return { role: 'user', content: [...files, { type: 'text', text: message.content }] }
  }
  if (message.role === 'tool') return toResultMessage(message, target)
  const calls = (message.toolCalls ?? []).map(({ id = '', name, arguments: input }) => ({
    type: 'tool-call',
    toolCallId: id,
    toolName: name,
    input: parsed(input),
  }))
  const texts = message.content === '' ? [] : [{ type: 'text', text: message.content }]
  return { role: 'assistant', content: [...texts, ...calls] }
}

/** A result with files has its error in words, because only results without files are marked as errors. */
async function toResultMessage({ toolCallId, toolName, content, isError = false, files = [] }: ToolMessage, target: CallTarget) {
  const text = { type: 'text', text: isError ? `Error: ${content}` : content }
  const output =
    files.length > 0
      ? { type: 'content', value: [text, ...(await Promise.all(files.map((file) => toResultFile(file, target))))] }
      : { type: isError ? 'error-text' : 'text', value: content }
  return { role: 'tool', content: [{ type: 'tool-result', toolCallId, toolName, output }] }
}

/** Models write arguments that are no JSON at times; they are sent back as they were written. */
function parsed(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return text
  }
}
