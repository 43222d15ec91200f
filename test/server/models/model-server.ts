import { setTimeout } from 'node:timers/promises'
import OpenAI from 'openai'
import type { PolyphonyConfigInput } from '../../../src/config/config.ts'
import type { FlowDefinitionInput } from '../../../src/domain/definition/flow-definition.ts'
import type { Usage } from '../../../src/domain/execution/usage.ts'
import type { Provider } from '../../../src/providers/provider.ts'
import { createScriptedProvider, type ScriptedProvider, type ScriptedReplies } from '../../../src/providers/scripted.ts'
import { type RunningServer, runServer } from '../running-server.ts'

export const USER = 'user-1'
export const USAGE: Usage = {
  inputTokens: 10,
  cachedInputTokens: 4,
  outputTokens: 5,
  reasoningTokens: 2,
  totalTokens: 15,
  source: 'reported',
}

export interface ModelServer extends RunningServer {
  readonly provider: ScriptedProvider
  readonly openai: OpenAI
  /** OpenAI's client with a key of that user. */
  clientOf(userId: string): Promise<OpenAI>
  /** A flow of the user, which can be called by its name. */
  save(definition: FlowDefinitionInput, userId?: string): Promise<string>
}

/** A server whose provider `scripted` answers from a script, or is another one, and has a price; with OpenAI's client for a user with a key. */
export async function runModelServer(
  replies: ScriptedReplies,
  instead?: Provider,
  config: PolyphonyConfigInput = {},
): Promise<ModelServer> {
  const provider = createScriptedProvider({ replies })
  const running = await runServer(
    {
      simulator: false,
      providers: { scripted: instead ?? provider },
      prices: { 'scripted/m': { inputPerMillion: 1_000, outputPerMillion: 2_000 } },
      retry: { baseDelayMs: 0, maxDelayMs: 0 },
      ...config,
    },
    { lookEveryMs: 20 },
  )
  const clientOf = async (userId: string) =>
    new OpenAI({ baseURL: `${running.url}/v1`, apiKey: await running.keyOf(userId), maxRetries: 0 })
  return {
    ...running,
    provider,
    openai: await clientOf(USER),
    clientOf,
    async save(definition, userId = USER) {
      const { conversations, orchestrator } = running.polyphony
      const thread = await conversations.createThread(userId)
      const { id, createdAt } = await orchestrator.createFlow(thread.id, userId, definition)
      // Of two flows of one millisecond neither is the newer one.
      while (Date.now() <= createdAt.getTime()) await setTimeout(1)
      return id
    },
  }
}

/** Two steps, of which the last one answers. */
export const TWO_STEPS: FlowDefinitionInput = {
  name: 'two steps',
  type: 'sequential',
  contextPolicy: { shareConversationHistory: true, preserveSystemPrompts: true },
  steps: [
    { id: 'draft', model: 'scripted/m', action: 'generate', prompt: 'original' },
    { id: 'answer', model: 'scripted/m', action: 'refine', prompt: 'Mend: {{ steps.draft.output }}' },
  ],
}

/** A provider that says something and then fails. */
export const speaksThenFails = (text: string, error: Error): Provider => ({
  id: 'scripted',
  kind: 'scripted',
  vendor: 'scripted',
  simulated: false,
  async generate(_, { onDelta }) {
    onDelta?.(text)
    throw error
  },
})
