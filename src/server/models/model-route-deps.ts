import type { ServerDeps } from '../server-deps.ts'
import type { ParseOptions } from './chat/chat-request.ts'
import type { FlowCalls } from './flow-calls.ts'
import type { ModelCatalogue } from './model-catalogue.ts'
import type { OpenRequests } from './open-requests.ts'
import type { TextStreamOptions } from './text-stream.ts'

/** Collaborators that every route of the OpenAI-compatible API needs. */
export interface ModelRouteDeps extends Pick<ServerDeps, 'orchestrator' | 'conversations'> {
  readonly catalogue: ModelCatalogue
  readonly calls: FlowCalls
  readonly requests: OpenRequests
  readonly streams: TextStreamOptions
  readonly parsing: ParseOptions
}
