import type { CallResponse } from '../../calls/call.ts'
import { wholeCharacters } from '../../domain/tools/turns.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** Tokens of one result that a model receives where its step sets no limit. */
export const DEFAULT_RESULT_TOKENS = 8_000

export interface FittedText {
  readonly text: string
  /** Why the text is incomplete. */
  readonly cut?: string
}

const MAX_ESTIMATES = 6

/** The beginning of a text that fits into `maxTokens`, with a note for the model where something is left out. */
export async function fitOutput(
  text: string,
  maxTokens: number,
  countTokens: (text: string) => Promise<number> | number,
): Promise<FittedText> {
  // No tokenizer gives more tokens than UTF-8 bytes.
  if (Buffer.byteLength(text, 'utf8') <= maxTokens) return { text }
  const tokens = await countTokens(text)
  if (tokens <= maxTokens) return { text }
  let length = text.length
  let counted = tokens
  let kept = ''
  for (let estimate = 0; estimate < MAX_ESTIMATES && kept === ''; estimate++) {
    length = Math.floor((length * maxTokens * 0.97) / Math.max(1, counted))
    const beginning = wholeCharacters(text.slice(0, length))
    counted = await countTokens(beginning)
    if (counted <= maxTokens) kept = beginning
  }
  const cut = `cut: the first ${kept.length} of ${text.length} characters, because of maxResultTokens ${maxTokens}`
  return { text: `${kept}\n[${cut}]`, cut }
}

/** The text of the answer of a tool, or the JSON of its value. */
export const outputOf = ({ text, value }: Pick<CallResponse, 'text' | 'value'>): string =>
  text !== '' || value === undefined ? text : JSON.stringify(value)

/** The error of a tool as its model sees it: the code and the message, which hold no stack and no secret. */
export function errorOutput(error: unknown): string {
  const { code, message } = OrchestratorError.from(error, 'STEP_FAILED')
  return JSON.stringify({ error: { code, message } })
}
