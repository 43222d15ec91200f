import * as z from 'zod'
import { jsonField } from '../json-field.ts'

/** A field of a request body that options must not set. */
interface EngineField {
  /** Path within the options, such as `['text', 'format']`, as they spell it. */
  readonly path: readonly string[]
  /** What to use in its place. */
  readonly instead: string
}

const MODEL = 'name the model in the step'
const PROMPT = 'use `prompt`, `system` and `inputFrom` of the step'
const TOOLS = 'use `tools` and `toolChoice` of the step'
const SCHEMA = 'use `outputSchema` of the step'
const STREAM = 'whether an answer is streamed is decided per execution'
const BOUND = 'use `settings.maxTokens`, because limits reserve what it allows'
const COUNT = 'use `samples` of the step, because every answer is paid for'
const STORED = 'the vendor stores no answers, and each request holds the whole conversation'

/**
 * Fields of request bodies that Polyphony sets itself, over all formats of vendors: options are named by provider,
 * whose format is not known where definitions are parsed. Fields inside others are written with a dot. They are refused
 * in snake case and in camel case, because Google reads both.
 */
const ENGINE_FIELDS: Readonly<Record<string, string>> = {
  model: MODEL,
  models: MODEL,
  messages: PROMPT,
  input: PROMPT,
  contents: PROMPT,
  system: PROMPT,
  instructions: PROMPT,
  system_instruction: PROMPT,
  cachedContent: PROMPT,
  prompt: PROMPT,
  tools: TOOLS,
  tool_choice: TOOLS,
  tool_config: TOOLS,
  functions: TOOLS,
  function_call: TOOLS,
  response_format: SCHEMA,
  output_format: SCHEMA,
  'text.format': SCHEMA,
  'output_config.format': SCHEMA,
  'generationConfig.responseSchema': SCHEMA,
  'generationConfig.responseJsonSchema': SCHEMA,
  'generationConfig.responseMimeType': SCHEMA,
  stream: STREAM,
  stream_options: STREAM,
  background: STREAM,
  max_tokens: BOUND,
  max_completion_tokens: BOUND,
  max_output_tokens: BOUND,
  'generationConfig.maxOutputTokens': BOUND,
  n: COUNT,
  best_of: COUNT,
  'generationConfig.candidateCount': COUNT,
  store: STORED,
  conversation: STORED,
  previous_response_id: STORED,
}

/** `max_tokens`, `maxTokens` and `_maxTokens` are one name. */
const toCamelCase = (name: string): string =>
  name.replace(/_+(.?)/g, (_, letter: string, at: number) => (at === 0 ? letter : letter.toUpperCase()))

const FIELDS: readonly EngineField[] = Object.entries(ENGINE_FIELDS).map(([name, instead]) => ({
  path: name.split('.').map(toCamelCase),
  instead,
}))

/** The fields of the options that Polyphony sets itself. */
export const findEngineFields = (options: Readonly<Record<string, unknown>>): readonly EngineField[] =>
  FIELDS.flatMap(({ path, instead }) => findPaths(options, path).map((found) => ({ path: found, instead })))

export const toEngineFieldProblem = ({ instead }: EngineField): string =>
  `expected no field that Polyphony sets itself (${instead})`

/** The paths of a field in the options, in their own spelling. */
function findPaths(options: unknown, [name, ...rest]: readonly string[]): readonly (readonly string[])[] {
  if (name === undefined) return [[]]
  if (!isPlainObject(options)) return []
  return Object.keys(options)
    .filter((key) => toCamelCase(key) === name)
    .flatMap((key) => findPaths(options[key], rest).map((path) => [key, ...path]))
}

const isPlainObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** Further fields of a request body, none of which Polyphony sets itself. */
export const requestOptionsField = z.record(z.string().min(1), jsonField).superRefine((options, context) => {
  for (const field of findEngineFields(options)) {
    context.addIssue({ code: 'custom', message: toEngineFieldProblem(field), path: [...field.path] })
  }
})
