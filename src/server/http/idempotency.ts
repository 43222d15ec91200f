import { createHash } from 'node:crypto'
import type { FastifyInstance, FastifyRequest } from 'fastify'
import * as z from 'zod'
import { threadNotFound } from '../../domain/users/thread.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { callerOf } from '../requests/routes.ts'
import type { ServerDeps } from '../server-deps.ts'

declare module 'fastify' {
  interface FastifyRequest {
    /** Under which the answer to this request is to be remembered. */
    idempotency: { readonly key: string; readonly lock: string } | undefined
  }
}

/** A process that died with a request in hand blocks its key for so long; longer than what is under way may take, or it would be done twice. */
const LOCKED_FOR_MS = 60_000
const EXECUTION_LOCKED_FOR_MS = 1_800_000
/** Headers of the answer that a repetition needs. */
const KEPT_HEADERS = ['content-type', 'location', 'x-polyphony-flow-id', 'x-polyphony-cost-usd']

export type IdempotencyDeps = Pick<ServerDeps, 'idempotency' | 'orchestrator' | 'permissions'>

/**
 * A repeated request with the same Idempotency-Key gets the first answer again, from whichever process. Only what was done is remembered: after an
 * error the repetition is tried anew.
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
    const begun = await repository.begin({ userId, key, fingerprint: fingerprintOf(request), now, lockedUntil })
    if (begun.state === 'new') {
      request.idempotency = { key, lock: begun.lock }
    } else if (begun.state === 'done') {
      await assertStillReadable(request, deps)
      const { statusCode, headers, body } = begun.answer
      return reply.code(statusCode).headers(headers).header('idempotency-replayed', 'true').serializer(String).send(body)
    } else if (begun.state === 'running') {
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
      const answer = { statusCode: reply.statusCode, headers: keptHeaders(reply), body: payload }
      await repository.finish(caller.userId, key, answer, lock)
    }
    return payload
  })
}

const target = z.object({ flowId: z.string().optional(), threadId: z.string().optional() })

/** The answer of then may tell of a thread or flow that the caller may not read any more: to whom it is unknown now. */
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

const fingerprintOf = ({ method, url, body }: FastifyRequest): string =>
  createHash('sha256')
    .update(JSON.stringify([method, url, body ?? null]))
    .digest('hex')

const keptHeaders = (reply: { getHeader(name: string): unknown }): Record<string, string> =>
  Object.fromEntries(
    KEPT_HEADERS.flatMap((name) => {
      const value = reply.getHeader(name)
      return typeof value === 'string' ? [[name, value]] : []
    }),
  )
