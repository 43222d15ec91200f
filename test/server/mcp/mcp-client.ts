import { Client, type ProgressCallback, StreamableHTTPClientTransport } from '@modelcontextprotocol/client'
import { onTestFinished } from 'vitest'
import type { FlowDefinitionInput } from '../../../src/domain/definition/flow-definition.ts'
import { createScriptedProvider, type ScriptedReply } from '../../../src/providers/scripted.ts'

/** The official client speaks 2025-11-25 unless it is told to find out what the server speaks. */
export const REVISIONS = [
  { revision: '2025-11-25', mode: 'legacy' },
  { revision: '2026-07-28', mode: 'auto' },
] as const
export type Mode = (typeof REVISIONS)[number]['mode']

export interface ConnectOptions {
  readonly mode?: Mode
  readonly key?: string
  readonly headers?: Readonly<Record<string, string>>
}

export interface CallOptions {
  readonly onprogress?: ProgressCallback
  readonly signal?: AbortSignal
}

/** What a call of a tool came to. */
export interface Called {
  readonly isError: boolean
  readonly text: string
  // What a tool answers is what a test is about to look at.
  readonly value: Record<string, unknown>
  /** Of an error. */
  readonly code: unknown
}

export interface ToolUser {
  readonly client: Client
  call(name: string, given?: Record<string, unknown>, options?: CallOptions): Promise<Called>
}

/** Calls of a client that knows the schemas of the tools, and so holds every answer against them. */
export async function toToolUser(client: Client): Promise<ToolUser> {
  await client.listTools()
  return {
    client,
    async call(name, given, options) {
      const answer = await client.callTool({ name, ...(given && { arguments: given }) }, options)
      const [first] = answer.content
      const problem: unknown = answer._meta?.['polyphony/problem']
      return {
        isError: answer.isError ?? false,
        text: first?.type === 'text' ? first.text : '',
        value: { ...(typeof answer.structuredContent === 'object' ? answer.structuredContent : {}) },
        code: typeof problem === 'object' && problem !== null && 'code' in problem ? problem.code : undefined,
      }
    },
  }
}

/** The official client over HTTP; ends with the test. */
export async function connect(url: string, options: ConnectOptions = {}): Promise<ToolUser> {
  const client = await open(url, options)
  return toToolUser(client)
}

/** The same before it has asked for the tools. */
export async function open(url: string, { mode = 'legacy', key, headers }: ConnectOptions = {}): Promise<Client> {
  const client = new Client({ name: 'test', version: '1' }, { versionNegotiation: { mode } })
  const transport = new StreamableHTTPClientTransport(new URL(`${url}/mcp`), {
    requestInit: { headers: { ...(key && { authorization: `Bearer ${key}` }), ...headers } },
  })
  onTestFinished(() => client.close())
  await client.connect(transport)
  return client
}

/** Two steps of the provider `scripted`, one after the other. */
export const TWO_STEPS = {
  name: 'two steps',
  type: 'sequential',
  steps: [
    { id: 'draft', model: 'scripted/m', action: 'generate', prompt: 'original' },
    { id: 'polish', model: 'scripted/m', action: 'refine', inputFrom: 'draft' },
  ],
} as const satisfies FlowDefinitionInput

/** A provider that answers when the test says so. */
export function createHeldProvider() {
  const held: ((reply: ScriptedReply) => void)[] = []
  const asked: (() => void)[] = []
  const provider = createScriptedProvider({
    replies: () =>
      new Promise((resolve) => {
        held.push(resolve)
        asked.shift()?.()
      }),
  })
  return {
    provider,
    /** Resolves when a request waits for its answer. */
    asked: () => (held.length > 0 ? Promise.resolve() : new Promise<void>((resolve) => asked.push(resolve))),
    async answer(text: string): Promise<void> {
      if (held.length === 0) await new Promise<void>((resolve) => asked.push(resolve))
      held.shift()?.(text)
    },
  }
}
