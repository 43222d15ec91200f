import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import * as z from 'zod'
import { threadNotFound } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { callerOf } from '../requests/routes.ts'
import type { ServerDeps } from '../server-deps.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Key under which the response to this request will be stored, and the lock that this process holds on it. */
    idempotency: { readonly key: string; readonly lock: string } | undefined
  }
}

/**
 * Milliseconds for which a key stays locked when its process dies. Must exceed the longest request, because the work
 * would be done twice otherwise.
 */
const LOCKED_FOR_MS = 60_000
const EXECUTION_LOCKED_FOR_MS = 1_800_000
/** Response headers that are stored with the body. */
const STORED_HEADERS = ['content-type', 'location', 'x-polyphony-flow-id', 'x-polyphony-cost-usd']

export type IdempotencyDeps = Pick<ServerDeps, 'idempotency' | 'orchestrator' | 'permissions'>

/**
 * Answers a repeated request with the same Idempotency-Key with the stored response of the first, from any process that
 * shares the database. Only successful responses are stored: after an error the repetition is processed again. Requests
 * fail with REQUEST_IN_PROGRESS while the first one runs, IDEMPOTENCY_KEY_REUSED when the key belongs to another
 * request.
 */
export function addIdempotency(app: FastifyInstance, deps: IdempotencyDeps): void {
  const { idempotency: repository } = deps
  app.decorateRequest('idempotency', undefined)

  app.addHook('preHandler', async (request, reply) => {
    const key = keyOf(request)
    if (key === undefined) return
    const { userId } = callerOf(request)
    const now = new Date()
    const lockedForMs = request.routeOptions.config.scope === 'execute' ? EXECUTION_LOCKED_FOR_MS : LOCKED_FOR_MS
    const lockedUntil = new Date(now.getTime() + lockedForMs)
    const claim = await repository.begin({ userId, key, fingerprint: fingerprintOf(request), now, lockedUntil })
    if (claim.state === 'new') {
      request.idempotency = { key, lock: claim.lock }
    } else if (claim.state === 'done') {
      await assertStillReadable(request, deps)
      const { statusCode, headers, body } = claim.answer
      return reply.code(statusCode).headers(headers).header('idempotency-replayed', 'true').serializer(String).send(body)
    } else if (claim.state === 'running') {
      throw new OrchestratorError('REQUEST_IN_PROGRESS', 'The first request with this Idempotency-Key is still being answered')
    } else {
      throw new OrchestratorError('IDEMPOTENCY_KEY_REUSED', 'This Idempotency-Key was used for another request')
    }
  })

  app.addHook('onSend', async (request, reply, payload) => {
    const { idempotency, caller } = request
    if (!idempotency || !caller) return payload
    request.idempotency = undefined
    const { key, lock } = idempotency
    if (reply.statusCode >= 300 || typeof payload !== 'string') await repository.release(caller.userId, key, lock)
    else {
      const answer = { statusCode: reply.statusCode, headers: storedHeadersOf(reply), body: payload }
      await repository.finish(caller.userId, key, answer, lock)
    }
    return payload
  })
}

const target = z.object({ flowId: z.string().optional(), threadId: z.string().optional() })

/**
 * The stored response may contain a thread or flow that the caller may no longer read. Rejects with FLOW_NOT_FOUND or
 * THREAD_NOT_FOUND, as reading it would.
 */
async function assertStillReadable(request: FastifyRequest, { orchestrator, permissions }: IdempotencyDeps): Promise<void> {
  const { userId } = callerOf(request)
  for (const named of [request.params, request.body]) {
    const { flowId, threadId } = target.safeParse(named).data ?? {}
    if (flowId !== undefined) await orchestrator.getThreadId(flowId, userId)
    if (threadId !== undefined && !(await permissions.can(userId, threadId, 'read'))) throw threadNotFound(threadId)
  }
}

function keyOf({ routeOptions, headers, body }: FastifyRequest): string | undefined {
  const key = headers['idempotency-key']
  const { idempotent = false } = routeOptions.config
  if (key === undefined || !(typeof idempotent === 'function' ? idempotent(body) : idempotent)) return undefined
  if (typeof key === 'string' && /^[\x21-\x7e]{1,200}$/.test(key)) return key
  throw new OrchestratorError('INPUT_INVALID', 'Idempotency-Key: expected 1 to 200 printable characters without spaces')
}

function fingerprintOf({ method, url, body }: FastifyRequest): string {
  const hash = createHash('sha256')
  if (body instanceof Uint8Array) hash.update(JSON.stringify([method, url])).update(body)
  else hash.update(JSON.stringify([method, url, body ?? null]))
  return hash.digest('hex')
}

const storedHeadersOf = (reply: { getHeader(name: string): unknown }): Record<string, string> =>
  Object.fromEntries(
    STORED_HEADERS.flatMap((name) => {
      const value = reply.getHeader(name)
      return typeof value === 'string' ? [[name, value]] : []
    }),
  )
