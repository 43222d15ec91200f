import type { Content, GenerateContentRequest } from '@google/generative-ai'
import type { JsonSchema, ModelRequest } from '../../domain/execution/model-call.ts'

/** Source: ai.google.dev/api/generate-content, GenerationConfig, November 2026. */
const MAX_STOP_SEQUENCES = 5

/** Declared here because the SDK's type lacks `responseJsonSchema`. */
interface GenerationConfig {
  temperature?: number
  topP?: number
  maxOutputTokens?: number
  stopSequences?: readonly string[]
  responseMimeType?: 'application/json'
  responseJsonSchema?: JsonSchema
}

export interface GoogleRequest {
  readonly body: Omit<GenerateContentRequest, 'generationConfig'> & { readonly generationConfig: GenerationConfig }
  readonly notes: readonly string[]
}

/** Builds a generateContent request. Settings that the model does not accept are mapped or left out, with a note. */
export function toGoogleRequest({ model, system, messages, settings, outputSchema }: ModelRequest): GoogleRequest {
  const notes: string[] = []
  const { temperature, topP, maxTokens, stopSequences } = settings
  const generationConfig: GenerationConfig = {
    ...(temperature !== undefined && { temperature }),
    ...(topP !== undefined && { topP }),
    ...(maxTokens !== undefined && { maxOutputTokens: maxTokens }),
    ...(stopSequences?.length && { stopSequences: stopSequences.slice(0, MAX_STOP_SEQUENCES) }),
    ...(outputSchema && toJsonMode(model, outputSchema, notes)),
  }
  if (stopSequences && stopSequences.length > MAX_STOP_SEQUENCES)
    notes.push(`only the first ${MAX_STOP_SEQUENCES} stopSequences were sent`)
  const contents = messages.map(({ role, content }) => toContent(role === 'assistant' ? 'model' : 'user', content))
  if (!system) return { body: { contents, generationConfig }, notes }
  if (!isGemma(model)) return { body: { contents, systemInstruction: toContent('system', system), generationConfig }, notes }
  notes.push(`system was sent as the first user message: ${model} takes no system instruction`)
  return { body: { contents: [toContent('user', system), ...contents], generationConfig }, notes }
}

const toContent = (role: string, text: string): Content => ({ role, parts: [{ text }] })

const isGemma = (model: string) => /(^|\/)gemma/.test(model)

/**
 * Models before 2.5 support JSON without a schema, and Gemma supports neither
 * (ai.google.dev/gemini-api/docs/structured-output, November 2026).
 */
const takesSchema = (model: string) => !isGemma(model) && !/(^|\/)(gemini-(1|2\.0)|learnlm)/.test(model)

function toJsonMode(model: string, { $schema: _dialect, ...schema }: JsonSchema, notes: string[]): Partial<GenerationConfig> {
  if (takesSchema(model)) return { responseMimeType: 'application/json', responseJsonSchema: schema }
  notes.push(`outputSchema was left out: ${model} does not support it; the answer is checked afterwards`)
  return isGemma(model) ? {} : { responseMimeType: 'application/json' }
}
