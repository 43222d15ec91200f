import type { ModelRequest, ToolChoice, ToolDefinition } from '../../domain/execution/model-call.ts'
import type { ForeignRecord } from '../vendor/foreign-json.ts'
import { toUnknownHostedTool } from '../vendor/hosted-tools.ts'
import type { Block } from './anthropic-files.ts'

/**
 * Tools that Anthropic runs, in the versions that every model with them accepts; newer versions need code execution
 * (platform.claude.com/docs/en/agents-and-tools/tool-use, November 2026).
 */
const HOSTED: Readonly<Record<string, Block>> = {
  web_search: { type: 'web_search_20250305', name: 'web_search' },
  web_fetch: { type: 'web_fetch_20250910', name: 'web_fetch' },
  code_execution: { type: 'code_execution_20250825', name: 'code_execution' },
}

/** `tools` of the request. Throws PROVIDER_REJECTED for an unknown hosted tool. */
export function toTools(request: ModelRequest, provider: string): Block[] {
  const { tools = [], hostedTools = [] } = request
  return [...hostedTools.map((name) => toHosted(name, provider, request)), ...tools.map(toTool)]
}

function toHosted(name: string, provider: string, { outputSchema, maxHostedCalls }: ModelRequest): Block {
  const tool = Object.hasOwn(HOSTED, name) ? HOSTED[name] : undefined
  if (!tool) throw toUnknownHostedTool(provider, name, Object.keys(HOSTED))
  return {
    ...tool,
    ...(maxHostedCalls !== undefined && name !== 'code_execution' && { max_uses: maxHostedCalls }),
    // Citations of fetched pages are off by default, and the API rejects them beside a schema of the answer.
    ...(name === 'web_fetch' && outputSchema === undefined && { citations: { enabled: true } }),
  }
}

const toTool = ({ name, description, parameters }: ToolDefinition): Block => ({
  name,
  ...(description && { description }),
  input_schema: toInputSchema(parameters),
})

/** The type of the schema is required. The dialect is always 2020-12. */
const toInputSchema = ({ $schema: _dialect, ...schema }: ToolDefinition['parameters']): ForeignRecord => ({
  ...schema,
  type: 'object',
})

/** `tool_choice` of the request. Undefined where the default of the API says the same. */
export function toToolChoice({ toolChoice = 'auto', settings }: ModelRequest, canForceTools: boolean): ForeignRecord | undefined {
  const choice = toChoice(canForceTools || toolChoice === 'none' ? toolChoice : 'auto')
  if (settings.parallelToolCalls === false && choice.type !== 'none') return { ...choice, disable_parallel_tool_use: true }
  return choice.type === 'auto' ? undefined : choice
}

function toChoice(choice: ToolChoice) {
  if (typeof choice === 'object') return { type: 'tool', name: choice.name }
  return { type: choice === 'required' ? 'any' : choice }
}
