import { Buffer } from 'node:buffer'
import * as z from 'zod'
import type { NewAttachment } from '../../domain/users/new-attachment.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** What `useChat` sends. Parts of other kinds, such as those of answers, are ignored. */
const chatBody = z.looseObject({
  id: z.string().min(1).max(200),
  trigger: z.string().max(100).nullish(),
  messages: z
    .array(z.looseObject({ role: z.string().max(100), parts: z.array(z.looseObject({ type: z.string().max(200) })).max(1_000) }))
    .max(10_000),
})
const textPart = z.looseObject({ type: z.literal('text'), text: z.string() })
const filePart = z.looseObject({
  type: z.literal('file'),
  mediaType: z.string().max(200),
  url: z.string(),
  filename: z.string().max(500).nullish(),
})

/** The new message of a chat. */
export interface NewChatMessage {
  /** Id of the chat: `id` of `useChat`. */
  readonly chatId: string
  /** Text of the last message of the user. */
  readonly input: string
  readonly attachments: readonly NewAttachment[]
  /** Whether the last message was answered before and is to be answered again. */
  readonly isRepeated: boolean
  /** The whole body, with what `sendMessage` added to it. Not checked. */
  readonly body: Readonly<Record<string, unknown>>
}

/** Reads a request of `useChat`. Throws INPUT_INVALID and REQUEST_TOO_LARGE. */
export async function readChatMessage(request: Request, maxBodyBytes: number): Promise<NewChatMessage> {
  const parsed = chatBody.safeParse(toJson(await readText(request, maxBodyBytes)))
  if (!parsed.success) {
    const problems = parsed.error.issues.map(({ path, message }) => `${path.join('.') || 'body'}: ${message}`)
    throw invalid(problems.slice(0, 10).join('; '))
  }
  const { id: chatId, trigger, messages } = parsed.data
  const last = messages.findLast(({ role }) => role === 'user')
  if (!last) throw invalid('messages: expected a message of the user, found none')
  const input = last.parts.flatMap((part) => textPart.safeParse(part).data?.text ?? []).join('\n')
  const files = last.parts.filter(({ type }) => type === 'file')
  return {
    chatId,
    input,
    attachments: files.map((part, index) => toAttachment(filePart.safeParse(part).data, index)),
    isRepeated: trigger === 'regenerate-message',
    body: parsed.data,
  }
}

/** Files of `useChat` are data URLs. Others are refused, because fetching them would reach what the user may not. */
function toAttachment(part: z.output<typeof filePart> | undefined, index: number): NewAttachment {
  const [head = '', data] = part?.url.split(',', 2) ?? []
  if (!part || data === undefined || !/^data:[^,]*;base64$/i.test(head)) {
    throw invalid(`file ${index + 1} of the message: expected the file as a data URL in Base64`)
  }
  const { mediaType, filename } = part
  return { name: filename || `file-${index + 1}`, mediaType, data: new Uint8Array(Buffer.from(data, 'base64')) }
}

async function readText(request: Request, maxBodyBytes: number): Promise<string> {
  const parts: Uint8Array[] = []
  let length = 0
  // Leaving the loop cancels the rest of the body.
  for await (const part of request.body ?? []) {
    length += part.byteLength
    if (length > maxBodyBytes) {
      throw new OrchestratorError('REQUEST_TOO_LARGE', `The request is larger than ${maxBodyBytes} bytes`)
    }
    parts.push(part)
  }
  return Buffer.concat(parts).toString('utf8')
}

function toJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw invalid('expected JSON as useChat sends it')
  }
}

const invalid = (message: string): OrchestratorError => new OrchestratorError('INPUT_INVALID', message)
