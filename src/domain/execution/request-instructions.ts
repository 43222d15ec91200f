/** Key of a flow's metadata under which the OpenAI-compatible API stores the fields of a request besides its prompt. */
export const REQUEST_KEY = 'openai_response'

/** Key of a message's metadata that marks instructions of one request among the messages of a thread. */
export const INSTRUCTIONS_MARK = 'openaiInstructions'

/**
 * System text of the request that a flow answers; `undefined` if the request has none. Every model of the flow gets it,
 * and no later request inherits it.
 */
export function findRequestInstructions(metadata: Readonly<Record<string, unknown>> | undefined): string | undefined {
  const request = metadata?.[REQUEST_KEY]
  if (typeof request !== 'object' || request === null || !('instructions' in request)) return undefined
  const { instructions } = request
  return typeof instructions === 'string' && instructions.trim() !== '' ? instructions : undefined
}

/** What callers said about a flow, which prompts can read: its metadata without the fields of a request. */
export function callerMetadata(metadata: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  if (!(REQUEST_KEY in metadata)) return metadata
  const { [REQUEST_KEY]: _request, ...given } = metadata
  return given
}

/** Whether callers said anything that a prompt can read. */
export const hasCallerMetadata = (metadata: Readonly<Record<string, unknown>>): boolean =>
  Object.keys(metadata).some((key) => key !== REQUEST_KEY)
