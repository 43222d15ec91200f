import { createScriptedProvider, type ModelRequest, type ScriptedAnswer, type ScriptedProvider } from 'polyphony'

/**
 * A vendor whose answers are written in the example, so that it runs without a key. It has the vendor's id, so that the
 * same definition asks the real one, and its list prices apply to tokens that are estimated from the texts.
 */
export function scriptedVendor(
  id: string,
  answer: (request: ModelRequest) => string | ScriptedAnswer | Promise<ScriptedAnswer>,
): ScriptedProvider {
  return createScriptedProvider({
    id,
    replies: async (request) => {
      const answered = await answer(request)
      const reply = typeof answered === 'string' ? { text: answered } : answered
      const inputTokens = tokensOf([request.system, request.messages])
      const outputTokens = tokensOf([reply.text, reply.toolCalls])
      const usage = { inputTokens, outputTokens, totalTokens: inputTokens + outputTokens, source: 'reported' } as const
      return { usage, ...reply }
    },
  })
}

/** About four characters per token, as in English text. */
const tokensOf = (value: unknown): number => Math.ceil(JSON.stringify(value).length / 4)

/** The newest message of the user in a request. */
export const questionOf = ({ messages }: ModelRequest): string => messages.findLast(({ role }) => role === 'user')?.content ?? ''
