import type { ModelRequest, ToolChoice, ToolDefinition } from '../../../domain/execution/model-call.ts'
import type { ForeignRecord } from '../../vendor/foreign-json.ts'
import { toUnknownHostedTool } from '../../vendor/hosted-tools.ts'
import { toStructuredSchema } from '../../vendor/json-schema.ts'
import type { RequestNotes } from '../../vendor/request-notes.ts'
import type { ChatDialect } from '../dialect.ts'

/** The fields about tools. Throws PROVIDER_REJECTED for a hosted tool that the service does not have. */
export function toChatToolFields(
  { tools, toolChoice, hostedTools, model }: ModelRequest,
  dialect: ChatDialect,
  provider: string,
  notes: RequestNotes,
): ForeignRecord {
  const hosted = (hostedTools ?? []).map((name) => toHostedTool(name, model, dialect, provider))
  if (!tools?.length) {
    if (toolChoice !== undefined && toolChoice !== 'none' && hosted.length === 0) {
      notes.leaveOut('toolChoice', 'the request has no tools')
    }
    return Object.assign({}, ...hosted)
  }
  return Object.assign(
    { tools: tools.map((tool) => toChatTool(tool, dialect)) },
    toolChoice !== undefined && { tool_choice: toChatToolChoice(toolChoice, dialect) },
    ...hosted,
  )
}

function toChatTool({ name, description, parameters }: ToolDefinition, { strictTools }: ChatDialect): ForeignRecord {
  const structured = strictTools ? toStructuredSchema(parameters) : undefined
  return {
    type: 'function',
    function: {
      name,
      ...(description && { description }),
      ...(structured?.strict ? { parameters: structured.schema, strict: true } : { parameters }),
    },
  }
}

function toChatToolChoice(choice: ToolChoice, { anyTool = 'required' }: ChatDialect): unknown {
  if (typeof choice === 'object') return { type: 'function', function: { name: choice.name } }
  return choice === 'required' ? anyTool : choice
}

function toHostedTool(name: string, model: string, dialect: ChatDialect, provider: string): ForeignRecord {
  const fields = dialect.toHostedToolFields?.(name, model)
  if (fields) return fields
  throw toUnknownHostedTool(provider, name, dialect.hostedTools ?? [])
}
