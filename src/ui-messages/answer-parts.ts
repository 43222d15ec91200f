import { countUnpricedSteps, type LedgerFacts, sumCost } from '../domain/execution/cost.ts'
import type { Source } from '../domain/execution/model-call.ts'
import { addUsage } from '../domain/execution/usage.ts'
import type { Attachment } from '../domain/users/thread.ts'
import type { FlowMessageMetadata, FlowUIMessageChunk, UIFinishReason } from './ui-message.ts'

const FINISH_REASONS = new Map<string | undefined, UIFinishReason>([
  ['stop', 'stop'],
  ['length', 'length'],
  ['content_filter', 'content-filter'],
  ['refusal', 'content-filter'],
])

export const toUIFinishReason = (reason: string | undefined): UIFinishReason => FINISH_REASONS.get(reason) ?? 'other'

/** Usage and cost over all steps and attempts. */
export function toEndMetadata(
  flowId: string,
  steps: readonly { readonly attempts: readonly LedgerFacts[]; readonly simulated: boolean }[],
): FlowMessageMetadata {
  const attempts = steps.flatMap((step) => step.attempts)
  return {
    flowId,
    simulated: steps.some(({ simulated }) => simulated),
    usage: addUsage(attempts.map(({ usage }) => usage)),
    costUsd: sumCost(attempts) ?? null,
    unpricedSteps: countUnpricedSteps(steps),
  }
}

/** Pages link sources, and a link to `javascript:` runs what it says. */
const WEB_ADDRESS = /^https?:\/\//i

/** The sources of the steps that wrote the answer, each once. One without an address of the web is a document. */
export function toSourceChunks(
  steps: readonly { readonly sources?: readonly Source[] | undefined }[],
): readonly FlowUIMessageChunk[] {
  const chunks = new Map<string, FlowUIMessageChunk>()
  for (const { url, title, text } of steps.flatMap(({ sources = [] }) => sources)) {
    const name = url ?? title ?? text
    if (name === undefined || chunks.has(name)) continue
    const isLink = url !== undefined && WEB_ADDRESS.test(url)
    const sourceId = `source-${chunks.size + 1}`
    const chunk: FlowUIMessageChunk = !isLink
      ? { type: 'source-document', sourceId, mediaType: 'text/plain', title: title ?? name }
      : { type: 'source-url', sourceId, url, ...(title !== undefined && { title }) }
    chunks.set(name, chunk)
  }
  return [...chunks.values()]
}

type FileUrl = (file: { readonly id: string; readonly name: string; readonly mediaType: string }) => string | undefined

/** The files that the models of these steps made. */
export const toFileChunks = (
  steps: readonly { readonly files?: readonly Pick<Attachment, 'name' | 'mediaType' | 'file'>[] | undefined }[],
  fileUrl: FileUrl | undefined,
): readonly FlowUIMessageChunk[] =>
  steps
    .flatMap(({ files = [] }) => files)
    .flatMap(({ name, mediaType, file }): readonly FlowUIMessageChunk[] => {
      if (!file) return []
      const url = fileUrl?.({ id: file.id, name, mediaType })
      return url === undefined
        ? [{ type: 'data-file', id: file.id, data: { fileId: file.id, name, mediaType } }]
        : [{ type: 'file', url, mediaType }]
    })
