import type { Scope } from '../../domain/users/api-key.ts'
import type { ClientFrame, ServerFrame } from '../../protocol/socket.ts'
import { type Caller, requireScope } from '../access/caller.ts'
import type { ServerDeps } from '../server-deps.ts'
import type { EventSlot } from './event-slot.ts'
import type { ServiceFrames } from './service-frames.ts'
import type { SubscriptionSet } from './subscription-set.ts'

type MessageType = ClientFrame['type']
type FrameOf<Type extends MessageType> = Extract<ClientFrame, { readonly type: Type }>

/** The connection on which a message arrived, as far as messages use it. */
export interface MessageContext {
  readonly orchestrator: Pick<ServerDeps['orchestrator'], 'startFlow' | 'cancelFlow' | 'signal'>
  readonly caller: Caller
  readonly subscriptions: SubscriptionSet
  readonly eventSlot: Pick<EventSlot, 'open' | 'end'>
  readonly serviceFrames: Pick<ServiceFrames, 'start'>
}

interface Message<Frame extends ClientFrame> {
  /** Scope that the caller's key must have. */
  readonly scope: Scope
  /** Resolves with the answer; undefined when `handle` has sent it. A rejection is answered with a `refused` frame. */
  handle(frame: Frame, context: MessageContext): Promise<ServerFrame | undefined>
}

type Messages = { readonly [Type in MessageType]: Message<FrameOf<Type>> }

/**
 * Every message that a client may send. To add one, write its schema in `protocol/socket.ts` and its definition here.
 */
export const SOCKET_MESSAGES: Messages = {
  subscribe: {
    scope: 'read',
    async handle({ flowId, afterSeq, requestId }, { subscriptions }) {
      await subscriptions.add(flowId, afterSeq, requestId)
      return undefined
    },
  },
  unsubscribe: {
    scope: 'read',
    async handle({ flowId, requestId }, { subscriptions }) {
      subscriptions.remove(flowId)
      return { type: 'unsubscribed', requestId, flowId }
    },
  },
  execute: {
    scope: 'execute',
    async handle({ flowId, requestId, options }, { orchestrator, caller }) {
      const { userId, keyId: apiKeyId } = caller
      const run = { streaming: true, resumeAfterCrash: true, ...options, apiKeyId }
      const status = await orchestrator.startFlow(flowId, userId, run)
      return { type: 'status', requestId, flowId, status }
    },
  },
  cancel: {
    scope: 'execute',
    async handle({ flowId, requestId }, { orchestrator, caller }) {
      return { type: 'status', requestId, flowId, status: await orchestrator.cancelFlow(flowId, caller.userId) }
    },
  },
  signal: {
    scope: 'execute',
    async handle({ flowId, path, answer, requestId }, { orchestrator, caller }) {
      return { type: 'decided', requestId, flowId, decision: await orchestrator.signal(flowId, caller.userId, path, answer) }
    },
  },
  subscribe_events: {
    scope: 'read',
    async handle({ filter, afterSeq, requestId }, { eventSlot }) {
      await eventSlot.open(filter, afterSeq, requestId)
      return undefined
    },
  },
  unsubscribe_events: {
    scope: 'read',
    async handle({ requestId }, { eventSlot }) {
      eventSlot.end()
      return { type: 'events_unsubscribed', requestId }
    },
  },
  subscribe_services: {
    scope: 'operate',
    async handle({ requestId }, { serviceFrames }) {
      serviceFrames.start((services) => ({ type: 'services_subscribed', requestId, services }))
      return undefined
    },
  },
  ping: {
    scope: 'read',
    handle: async ({ requestId }) => ({ type: 'pong', requestId }),
  },
}

/** Handles one frame. Rejects with PERMISSION_DENIED without the scope of its message, and as the HTTP routes do. */
export const handleFrame = (frame: ClientFrame, context: MessageContext): Promise<ServerFrame | undefined> =>
  handle(frame.type, frame, context)

async function handle<Type extends MessageType>(type: Type, frame: FrameOf<Type>, context: MessageContext) {
  const message: Message<FrameOf<Type>> = SOCKET_MESSAGES[type]
  requireScope(context.caller, message.scope)
  return message.handle(frame, context)
}
