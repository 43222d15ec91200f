/** The entry point `polyphony/ai-sdk`: models of the AI SDK as providers, and flows as streams for its `useChat`. */

export type { ConfiguredPrice } from './config/config.ts'
export type { AnswerStep } from './domain/answers/answer-text.ts'
export { type AiSdkCall, type AiSdkModel, type AiSdkOptions, fromAiSdk } from './providers/ai-sdk/ai-sdk.ts'
export type { Provider } from './providers/provider.ts'
export { type Chat, type ChatHandlers, type ChatHandlersOptions, createChatHandlers } from './ui-messages/chat/chat-handlers.ts'
export type {
  AnswerValue,
  FlowDataParts,
  FlowMessageMetadata,
  FlowState,
  FlowUIMessageChunk,
  MadeFile,
  StepRunState,
  WaitState,
} from './ui-messages/ui-message.ts'
export { toUIMessageStreamResponse, type UIMessageResponseOptions } from './ui-messages/ui-message-response.ts'
export { type FlowUpdates, toUIMessageStream, type UIMessageStreamOptions } from './ui-messages/ui-message-stream.ts'
