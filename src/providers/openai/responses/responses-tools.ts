import type { ModelRequest, ToolChoice, ToolDefinition } from '../../../domain/execution/model-call.ts'
import type { ForeignRecord } from '../../vendor/foreign-json.ts'
import { toUnknownHostedTool } from '../../vendor/hosted-tools.ts'
import { toStructuredSchema } from '../../vendor/json-schema.ts'
import type { RequestNotes } from '../../vendor/request-notes.ts'

interface HostedTool {
  readonly tool: ForeignRecord
  /** What the answer must include for its sources or results to be read. */
  readonly include?: string
}

/**
 * Tools of the Responses API (developers.openai.com/api/docs/guides/tools, 2026-11). The value is the part of the name
 * after a colon.
 */
const HOSTED_TOOLS = new Map<string, (value: string | undefined) => HostedTool | undefined>([
  ['web_search', () => ({ tool: { type: 'web_search' }, include: 'web_search_call.action.sources' })],
  [
    'file_search',
    (stores) =>
      stores
        ? { tool: { type: 'file_search', vector_store_ids: stores.split(',') }, include: 'file_search_call.results' }
        : undefined,
  ],
  [
    'code_interpreter',
    () => ({ tool: { type: 'code_interpreter', container: { type: 'auto' } }, include: 'code_interpreter_call.outputs' }),
  ],
  ['image_generation', () => ({ tool: { type: 'image_generation' } })],
])
const SUPPORTED = [...HOSTED_TOOLS.keys()].map((name) => (name === 'file_search' ? 'file_search:<id of a vector store>' : name))

/** The fields about tools. Throws PROVIDER_REJECTED for a hosted tool that the API does not have. */
export function addToolFields(
  body: Record<string, unknown>,
  { tools, toolChoice, hostedTools, maxHostedCalls }: ModelRequest,
  provider: string,
  notes: RequestNotes,
): readonly string[] {
  const hosted = (hostedTools ?? []).map((name) => toHostedTool(name, provider))
  const all = [...(tools ?? []).map(toFunctionTool), ...hosted.map(({ tool }) => tool)]
  if (all.length === 0) {
    if (toolChoice !== undefined && toolChoice !== 'none') notes.leaveOut('toolChoice', 'the request has no tools')
    return []
  }
  body.tools = all
  if (maxHostedCalls !== undefined && hosted.length > 0) body.max_tool_calls = maxHostedCalls
  if (toolChoice !== undefined) body.tool_choice = toToolChoice(toolChoice)
  return hosted.flatMap(({ include }) => include ?? [])
}

/** Without `strict` the API would make every schema strict, and change or reject those that are not. */
function toFunctionTool({ name, description, parameters }: ToolDefinition): ForeignRecord {
  const structured = toStructuredSchema(parameters)
  return {
    type: 'function',
    name,
    ...(description && { description }),
    parameters: structured?.strict ? structured.schema : parameters,
    strict: structured?.strict ?? false,
  }
}

const toToolChoice = (choice: ToolChoice): unknown =>
  typeof choice === 'object' ? { type: 'function', name: choice.name } : choice

function toHostedTool(name: string, provider: string): HostedTool {
  const colon = name.indexOf(':')
  const found = HOSTED_TOOLS.get(colon < 0 ? name : name.slice(0, colon))?.(colon < 0 ? undefined : name.slice(colon + 1))
  if (found) return found
  throw toUnknownHostedTool(provider, name, SUPPORTED)
}
