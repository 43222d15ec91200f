import type { IdempotencyRepository, TicketRepository, UpdateRepository } from '../../repositories/repository.ts'

const PRUNE_EVERY_MS = 60_000

/** Removes updates of flows that settled longer ago than `retentionMs`, now and then. Returns what stops it. */
export function startPruning(updates: UpdateRepository, retentionMs: number | undefined): () => void {
  if (retentionMs === undefined) return () => {}
  // A database that is away for a moment is asked again at the next turn.
  const prune = () => void updates.prune(new Date(Date.now() - retentionMs)).catch(() => {})
  const timer = setInterval(prune, Math.min(retentionMs, PRUNE_EVERY_MS))
  timer.unref()
  return () => clearInterval(timer)
}

const PRUNE_CALLERS_EVERY_MS = 600_000
/** How long an answer can be asked for again; what https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header leaves to the server. */
const REMEMBER_ANSWERS_MS = 86_400_000

export interface CallerRecords {
  readonly tickets: Pick<TicketRepository, 'prune'>
  readonly idempotency: Pick<IdempotencyRepository, 'prune'>
}

/** Removes expired tickets and answers that are a day old, now and then. Returns what stops it. */
export function startPruningCallers({ tickets, idempotency }: CallerRecords, everyMs = PRUNE_CALLERS_EVERY_MS): () => void {
  const prune = () => {
    void tickets.prune(new Date()).catch(() => {})
    void idempotency.prune(new Date(Date.now() - REMEMBER_ANSWERS_MS)).catch(() => {})
  }
  const timer = setInterval(prune, everyMs)
  timer.unref()
  return () => clearInterval(timer)
}
