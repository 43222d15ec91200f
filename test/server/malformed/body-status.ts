import * as z from 'zod'
import { templateArguments } from '../../../src/protocol/catalogue.ts'
import { publishedEvent } from '../../../src/protocol/event.ts'
import { execution, flowToCheck, newFlow, rerun, stepExecution } from '../../../src/protocol/flow.ts'
import { newSharingPolicy } from '../../../src/protocol/sharing.ts'
import { newMessage, newPermission, newThread } from '../../../src/protocol/thread.ts'
import { newEvent, stepAnswer } from '../../../src/protocol/waiting.ts'

/** What the bodies of these routes have to be. */
export const BODY_SCHEMAS: Readonly<Record<string, z.ZodType>> = {
  'POST /api/v1/threads': newThread,
  'POST /api/v1/threads/:threadId/messages': newMessage,
  'PUT /api/v1/threads/:threadId/permissions/:userId': newPermission,
  'PUT /api/v1/data-sharing/:providerKey': newSharingPolicy,
  'POST /api/v1/flows': newFlow,
  'POST /api/v1/flows/check': flowToCheck,
  'POST /api/v1/flows/:flowId/execute': execution,
  'POST /api/v1/flows/:flowId/steps/:stepId/execute': stepExecution,
  'POST /api/v1/flows/:flowId/steps/:stepId/signal': stepAnswer,
  'POST /api/v1/events': z.union([newEvent, publishedEvent]),
  'POST /api/v1/flows/:flowId/rerun': rerun,
  'POST /api/v1/templates/:name/instantiate': templateArguments,
}

/** `malformed`: 400, whatever the route; `wrong`: 422; `usable`: neither a 400, nor anything that this file could know. */
export type BodyKind = 'malformed' | 'wrong' | 'usable'

const MOST_BYTES = 2_000_000
/** Brackets that no body of the server's limit of levels holds, in whatever order they stand. */
const MOST_LEVELS = 1_500

/** What a body is, read without the server; `undefined` where its size or depth is refused before it is read. */
export function kindOf(body: Buffer | undefined, schema: z.ZodType): BodyKind | undefined {
  if (body === undefined || body.length === 0) return schema.safeParse({}).success ? 'usable' : 'wrong'
  if (body.length > MOST_BYTES) return undefined
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(body)
  } catch {
    return 'malformed'
  }
  if (text.replaceAll(/[^[{]/g, '').length > MOST_LEVELS) return undefined
  try {
    return schema.safeParse(JSON.parse(text, refusePollution)).success ? 'usable' : 'wrong'
  } catch {
    return 'malformed'
  }
}

/** Keys through which careless programs change the prototype of everything are refused as JSON is that cannot be read. */
function refusePollution(key: string, value: unknown): unknown {
  const isConstructor = key === 'constructor' && typeof value === 'object' && value !== null && Object.hasOwn(value, 'prototype')
  if (key === '__proto__' || isConstructor) throw new SyntaxError('a key that is refused')
  return value
}
