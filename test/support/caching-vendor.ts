import { createLoopback, type LoopbackRequest } from './loopback.ts'
import { SSE_HEADERS } from './vendor-server.ts'

export interface SeenPrompt {
  /** Everything the model reads, in order, without marks. */
  readonly text: string
  readonly body: Readonly<Record<string, unknown>>
}

export interface CachingVendor {
  readonly url: string
  readonly prompts: readonly SeenPrompt[]
  close(): Promise<void>
}

/** Answers a prompt; undefined rejects the request. */
export type Reply = (prompt: string, model: unknown) => string | undefined

/** Requests that arrive together are all read before the first answer begins. */
const beginning = () => new Promise((resolve) => setTimeout(resolve, 5))

const tokensOf = (text: string): number => Math.ceil(text.length / 4)

/** Beginnings that can be read: those whose answer has begun. */
type Held = Set<string>

interface Block {
  readonly text: string
  readonly marked: boolean
}

type Fields = Readonly<Record<string, unknown>>
const fieldsOf = (value: unknown): Fields => (typeof value === 'object' && value !== null ? { ...value } : {})
const listOf = (value: unknown): readonly unknown[] => (Array.isArray(value) ? value : [])

/**
 * The Messages API with prompt caching as Anthropic documents it: up to four marks; a beginning is kept at each mark from
 * the minimum of tokens on, and can be read once the answer has begun; a mark reads the longest kept beginning that ends
 * at one of the 20 blocks before it; what is read costs a tenth, what is written a quarter more.
 */
export async function createCachingAnthropic(reply: Reply, minTokens = 1_024): Promise<CachingVendor> {
  const prompts: SeenPrompt[] = []
  const held: Held = new Set()
  const { url, close } = await createLoopback(async ({ body, response }) => {
    const fields = fieldsOf(body)
    const blocks = blocksOf(fields)
    const text = blocks.map((block) => block.text).join('')
    prompts.push({ text, body: fields })
    const marks = blocks.flatMap((block, position) => (block.marked ? [position] : []))
    if (marks.length > 4) return void response.writeHead(400).end('{}')
    // The form of the answer and the effort of thinking are part of every beginning.
    const head = JSON.stringify([fields.model, fields.output_config, fields.thinking, fields.tool_choice])
    const upTo = (position: number) =>
      blocks
        .slice(0, position + 1)
        .map((block) => `${block.text}\0`)
        .join('')
    const keyOf = (position: number) => head + upTo(position)
    const sizeOf = (position: number) => tokensOf(upTo(position).replaceAll('\0', ''))
    let read = 0
    for (const mark of marks) {
      for (let position = mark; position > mark - 20 && position >= 0; position--) {
        if (held.has(keyOf(position))) read = Math.max(read, sizeOf(position))
      }
    }
    const kept = marks.filter((mark) => sizeOf(mark) >= minTokens)
    const written = Math.max(0, sizeOf(kept.at(-1) ?? -1) - read)
    const answer = reply(text, fields.model)
    if (answer === undefined) return void response.writeHead(400).end('{}')
    await beginning()
    for (const mark of kept) held.add(keyOf(mark))
    const usage = {
      input_tokens: tokensOf(text) - read - written,
      cache_read_input_tokens: read,
      cache_creation_input_tokens: written,
      cache_creation: { ephemeral_5m_input_tokens: written, ephemeral_1h_input_tokens: 0 },
      output_tokens: tokensOf(answer),
    }
    sendMessage(response, fields, answer, usage)
  })
  return { url, prompts, close }
}

function blocksOf({ tools, system, messages }: Fields): readonly Block[] {
  const toBlock = (value: unknown, prefix = ''): Block => {
    const { cache_control: mark, ...rest } = fieldsOf(value)
    return { text: prefix + (typeof rest.text === 'string' ? rest.text : JSON.stringify(rest)), marked: mark !== undefined }
  }
  const ofContent = (content: unknown): readonly Block[] =>
    typeof content === 'string' ? [{ text: content, marked: false }] : listOf(content).map((one) => toBlock(one))
  return [
    ...listOf(tools).map((tool) => toBlock(tool)),
    ...(system === undefined ? [] : ofContent(system)),
    ...listOf(messages).flatMap((message) => ofContent(fieldsOf(message).content)),
  ]
}

function sendMessage(response: LoopbackRequest['response'], { model, stream }: Fields, text: string, usage: Fields): void {
  const message = { id: 'msg_1', type: 'message', role: 'assistant', model, stop_sequence: null }
  if (stream !== true) {
    response.writeHead(200, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ ...message, content: [{ type: 'text', text }], stop_reason: 'end_turn', usage }))
    return
  }
  const events = [
    { type: 'message_start', message: { ...message, content: [], stop_reason: null, usage: { ...usage, output_tokens: 1 } } },
    { type: 'content_block_start', index: 0, content_block: { type: 'text', text: '' } },
    { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text } },
    { type: 'content_block_stop', index: 0 },
    { type: 'message_delta', delta: { stop_reason: 'end_turn', stop_sequence: null }, usage },
    { type: 'message_stop' },
  ]
  response.writeHead(200, SSE_HEADERS)
  response.end(events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join(''))
}

/**
 * Chat Completions with prompt caching as OpenAI documents it: by itself, from 1,024 tokens on, in steps of 128 tokens,
 * on the machine to which beginning and key lead. With `isCaching: false` nothing is ever read.
 */
export async function createCachingOpenAi(reply: Reply, isCaching = true): Promise<CachingVendor> {
  const prompts: SeenPrompt[] = []
  const machines = new Map<string, Held>()
  const { url, close } = await createLoopback(async ({ body, response }) => {
    const fields = fieldsOf(body)
    const text = listOf(fields.messages)
      .map((message) => `${String(fieldsOf(message).role)}\0${JSON.stringify(fieldsOf(message).content)}`)
      .join('\0')
    prompts.push({ text, body: fields })
    const head = JSON.stringify([fields.model, fields.response_format, fields.tools])
    const name = `${head}${text.slice(0, 1_024)}${String(fields.prompt_cache_key)}`
    const machine = machines.get(name) ?? new Set<string>()
    machines.set(name, machine)
    const total = tokensOf(text)
    const steps: number[] = []
    for (let size = 1_024; size <= total && isCaching; size += 128) steps.push(size)
    const read = steps.findLast((size) => machine.has(text.slice(0, size * 4))) ?? 0
    const answer = reply(text, fields.model)
    if (answer === undefined) return void response.writeHead(400).end('{}')
    await beginning()
    for (const size of steps) machine.add(text.slice(0, size * 4))
    response.writeHead(200, { 'content-type': 'application/json' })
    const usage = {
      prompt_tokens: total,
      completion_tokens: tokensOf(answer),
      total_tokens: total + tokensOf(answer),
      prompt_tokens_details: { cached_tokens: read },
    }
    const choice = { index: 0, message: { role: 'assistant', content: answer, refusal: null }, finish_reason: 'stop' }
    response.end(JSON.stringify({ id: 'c', object: 'chat.completion', model: fields.model, choices: [choice], usage }))
  })
  return { url, prompts, close }
}
