/** Member of a flow's metadata that holds what the request which the flow answers said besides its prompt. */
export const REQUEST_KEY = 'openai_response'

/** Member of a message's metadata that marks instructions of one request among the messages of a thread. */
export const INSTRUCTIONS_MARK = 'openaiInstructions'

/**
 * System text of the request that a flow answers; `undefined` where it brought none. It belongs to the request as the prompt does: every model of the flow
 * gets it, and no later request inherits it.
 */
export function findRequestInstructions(metadata: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const request = metadata?.[REQUEST_KEY]
  if (typeof request !== 'object' || request === null || !('instructions' in request)) return undefined
  const { instructions } = request
  return typeof instructions === 'string' && instructions.trim() !== '' ? instructions : undefined
}
