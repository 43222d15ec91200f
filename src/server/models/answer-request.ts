import type { FastifyReply, FastifyRequest } from 'fastify'
import { callerOf } from '../requests/routes.ts'
import type { InFlight } from '../streaming/in-flight.ts'

/**
 * Does the work of one request that waits for a flow. `signal` is aborted when the client has gone, its key is no
 * longer valid, or the server closes: the answer would reach no client then. A client that sent an Idempotency-Key may
 * request it again. Throws RATE_LIMITED.
 */
export function answerRequest<Answer>(
  inFlight: Pick<InFlight, 'open'>,
  request: FastifyRequest,
  { raw }: FastifyReply,
  work: (signal: AbortSignal) => Promise<Answer>,
): Promise<Answer> {
  const caller = callerOf(request)
  const { clientGone, respondNow, release } = inFlight.open(raw, { caller, limit: 'requests that wait for a flow' })
  const signal = request.idempotency ? respondNow : AbortSignal.any([clientGone.signal, respondNow])
  return work(signal).finally(release)
}

/** Does work that no client waits for, until the server closes. Errors are ignored: the flow has recorded them. */
export function runInBackground(inFlight: Pick<InFlight, 'add'>, work: (closing: AbortSignal) => Promise<unknown>): void {
  const closing = new AbortController()
  const release = inFlight.add({ respondNow: (reason) => closing.abort(reason) })
  work(closing.signal)
    .catch(() => {})
    .finally(release)
}
