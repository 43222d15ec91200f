import type { LargeBodies } from '../requests/large-bodies.ts'
import type { ServerDeps } from '../server-deps.ts'
import type { InFlight } from '../streaming/in-flight.ts'
import type { ParseOptions } from './chat/chat-request.ts'
import type { FlowCalls } from './flow-calls.ts'
import type { ModelCatalogue } from './model-catalogue.ts'
import type { TextStreamOptions } from './text-stream.ts'

/** Collaborators that every route of the OpenAI-compatible API needs. */
export interface ModelRouteDeps extends Pick<ServerDeps, 'orchestrator' | 'conversations'> {
  readonly catalogue: ModelCatalogue
  readonly calls: FlowCalls
  readonly inFlight: InFlight
  readonly streams: TextStreamOptions
  readonly parsing: ParseOptions
  readonly largeBodies: LargeBodies
}
