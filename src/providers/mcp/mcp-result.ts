import type { CallToolResult } from '@modelcontextprotocol/client'
import type { GeneratedFile, ModelResponse } from '../../domain/execution/model-call.ts'
import { NO_TOKENS } from '../../domain/execution/usage.ts'

type Content = CallToolResult['content'][number]

/** One result of a tool: its texts, its files, and its value. */
export interface McpResult extends Pick<ModelResponse, 'text' | 'files'> {
  readonly value: unknown
  readonly isError: boolean
}

/** Reads content of every type: text and links are text, images, audio and binary resources are files. */
export function readMcpResult({ content, structuredContent, isError = false }: CallToolResult): McpResult {
  const texts = content.flatMap(textOf)
  const files = content.flatMap(fileOf)
  const joined = texts.join('\n')
  const described = files.map(({ mediaType, data }) => ({ mediaType, byteLength: data.byteLength }))
  const value = structuredContent ?? (texts.length > 0 || files.length === 0 ? joined : described)
  const text = joined !== '' || typeof value === 'string' ? joined : JSON.stringify(value)
  return { text, value, isError, ...(files.length > 0 && { files }) }
}

/** A successful result as the answer of a step. */
export const toMcpAnswer = (tool: string, { text, value, files }: McpResult): ModelResponse => ({
  text,
  value,
  ...(files && { files }),
  finishReason: 'stop',
  model: tool,
  usage: NO_TOKENS,
  notes: [],
})

function textOf(part: Content): readonly string[] {
  if (part.type === 'text') return [part.text]
  if (part.type === 'resource_link') return [`${part.title ?? part.name}: ${part.uri}`]
  return part.type === 'resource' && 'text' in part.resource ? [part.resource.text] : []
}

function fileOf(part: Content): readonly GeneratedFile[] {
  if (part.type === 'image' || part.type === 'audio') {
    return [{ mediaType: part.mimeType, data: Buffer.from(part.data, 'base64') }]
  }
  if (part.type !== 'resource' || !('blob' in part.resource)) return []
  const { uri, mimeType = 'application/octet-stream', blob } = part.resource
  return [{ name: uri.split('/').at(-1) || uri, mediaType: mimeType, data: Buffer.from(blob, 'base64') }]
}
