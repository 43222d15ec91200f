import type { Tool } from '@modelcontextprotocol/client'
import type { McpServerSettings } from '../../config/operations/operation-settings.ts'
import { toForeignCheck } from '../../domain/tools/operation-schema.ts'
import type { ProviderOperation } from '../provider.ts'

/** A tool of a server as an operation, with what the operator states about it. */
export interface McpOperation extends ProviderOperation {
  /** Problems of a structured result. */
  checkResult(value: unknown): readonly string[]
}

/** What the operator states about a tool wins over what its server says. */
export function toMcpOperation(tool: Tool, settings: McpServerSettings): McpOperation {
  const own = settings.tools && Object.hasOwn(settings.tools, tool.name) ? settings.tools[tool.name] : undefined
  const { annotations } = tool
  const saysIdempotent = annotations?.readOnlyHint === true || annotations?.idempotentHint === true
  const output = tool.outputSchema && { ...tool.outputSchema }
  const description = tool.description ?? tool.title
  const checkResult = output ? toForeignCheck(output, 'result') : () => []
  return {
    name: tool.name,
    ...(description !== undefined && { description }),
    input: { ...tool.inputSchema },
    ...(output && { output }),
    idempotent: own?.idempotent ?? settings.idempotent ?? saysIdempotent,
    approval: own?.approval ?? settings.approval ?? false,
    expose: own?.expose ?? settings.expose ?? 'code',
    check: toForeignCheck({ ...tool.inputSchema }, 'arguments'),
    checkResult,
  }
}
