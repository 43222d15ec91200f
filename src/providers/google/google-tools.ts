import type { ModelRequest, ToolChoice, ToolDefinition } from '../../domain/execution/model-call.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type ForeignRecord, recordOf } from '../vendor/foreign-json.ts'
import { toUnknownHostedTool } from '../vendor/hosted-tools.ts'
import type { RequestNotes } from '../vendor/request-notes.ts'
import type { GoogleAbilities } from './google-models.ts'

const URL_CONTEXT: ForeignRecord = { urlContext: {} }

/** Tools that Google runs, by our names (ai.google.dev/gemini-api/docs/tools, November 2026). */
const HOSTED: Readonly<Record<string, ForeignRecord>> = {
  web_search: { googleSearch: {} },
  web_fetch: URL_CONTEXT,
  url_context: URL_CONTEXT,
  code_execution: { codeExecution: {} },
}

/**
 * `tools` and `toolConfig` of the request. Throws PROVIDER_REJECTED for an unknown hosted tool, and for hosted tools
 * beside own ones where the model accepts only one kind.
 */
export function toToolFields(
  { model, tools = [], hostedTools = [], toolChoice, settings }: ModelRequest,
  provider: string,
  { combines }: GoogleAbilities,
  notes: RequestNotes,
): ForeignRecord | undefined {
  if (tools.length === 0 && hostedTools.length === 0) return undefined
  const hosted = [...new Set(hostedTools.map((name) => toHosted(name, provider)))]
  const both = hosted.length > 0 && tools.length > 0
  if (both && !combines) throw toNotCombined(provider, model)
  if (settings.parallelToolCalls === false && tools.length > 0)
    notes.leaveOut('parallelToolCalls', 'Gemini always decides itself how many tools it calls in one turn')
  const calling = tools.length > 0 ? toFunctionCalling(toolChoice) : undefined
  const config = {
    ...(calling && { functionCallingConfig: calling }),
    // Without it the API rejects tools of Google beside own ones.
    ...(both && { includeServerSideToolInvocations: true }),
  }
  return {
    tools: [...hosted, ...(tools.length > 0 ? [{ functionDeclarations: tools.map(toDeclaration) }] : [])],
    ...(Object.keys(config).length > 0 && { toolConfig: config }),
  }
}

function toHosted(name: string, provider: string): ForeignRecord {
  const tool = Object.hasOwn(HOSTED, name) ? HOSTED[name] : undefined
  if (!tool) throw toUnknownHostedTool(provider, name, Object.keys(HOSTED))
  return tool
}

function toNotCombined(provider: string, model: string): OrchestratorError {
  const message = `Expected the tools of ${model} to be either all hosted or all others, because it does not combine them; name a model from Gemini 3 on, or split the step`
  return new OrchestratorError('PROVIDER_REJECTED', message, { details: { provider, model } })
}

/** `parametersJsonSchema` takes JSON Schema as it is. A function without parameters must have no schema. */
function toDeclaration({ name, description, parameters }: ToolDefinition): ForeignRecord {
  const { $schema: _dialect, ...schema } = parameters
  const hasParameters = Object.keys(recordOf(schema.properties)).length > 0 || schema.properties === undefined
  return {
    name,
    ...(description && { description }),
    ...(hasParameters && Object.keys(schema).length > 0 && { parametersJsonSchema: { ...schema, type: 'object' } }),
  }
}

function toFunctionCalling(choice: ToolChoice = 'auto'): ForeignRecord | undefined {
  if (typeof choice === 'object') return { mode: 'ANY', allowedFunctionNames: [choice.name] }
  if (choice === 'auto') return undefined
  return { mode: choice === 'required' ? 'ANY' : 'NONE' }
}
