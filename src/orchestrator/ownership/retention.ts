import type {
  BudgetRepository,
  EventRepository,
  FileRepository,
  IdempotencyRepository,
  RequestCountRepository,
  TicketRepository,
  UpdateRepository,
  WebhookRepository,
} from '../../repositories/repository.ts'

const PRUNE_INTERVAL_MS = 60_000

/**
 * Periodically removes updates of flows that settled longer ago than `retentionMs`. Returns the function that stops the
 * timer.
 */
export function startPruning(updates: UpdateRepository, retentionMs: number | undefined): () => void {
  if (retentionMs === undefined) return () => {}
  // An unreachable database is queried again at the next interval.
  const prune = () => void updates.prune(new Date(Date.now() - retentionMs)).catch(() => {})
  const timer = setInterval(prune, Math.min(retentionMs, PRUNE_INTERVAL_MS))
  timer.unref()
  return () => clearInterval(timer)
}

const PRUNE_CALLERS_INTERVAL_MS = 600_000
/**
 * Milliseconds for which the answer to a repeated request is kept.
 * https://datatracker.ietf.org/doc/draft-ietf-httpapi-idempotency-key-header leaves the time to the server.
 */
const KEEP_ANSWERS_MS = 86_400_000
/** Milliseconds for which windows of budgets are kept: the longest window and the one before it. */
const KEEP_BUDGETS_MS = 62 * 86_400_000

export interface CallerRecords {
  readonly tickets: Pick<TicketRepository, 'prune'>
  readonly idempotency: Pick<IdempotencyRepository, 'prune'>
  readonly requestCounts?: Pick<RequestCountRepository, 'prune'>
  readonly budgets: Pick<BudgetRepository, 'prune'>
}

/**
 * Periodically removes expired tickets, answers that are a day old, and windows of requests and budgets that have
 * ended. Returns the function that stops the timer.
 */
export function startPruningCallers(
  { tickets, idempotency, requestCounts, budgets }: CallerRecords,
  intervalMs = PRUNE_CALLERS_INTERVAL_MS,
): () => void {
  const prune = () => {
    void tickets.prune(new Date()).catch(() => {})
    void idempotency.prune(new Date(Date.now() - KEEP_ANSWERS_MS)).catch(() => {})
    void budgets.prune(new Date(Date.now() - KEEP_BUDGETS_MS)).catch(() => {})
    void requestCounts?.prune().catch(() => {})
  }
  const timer = setInterval(prune, intervalMs)
  timer.unref()
  return () => clearInterval(timer)
}

const PRUNE_EVENTS_INTERVAL_MS = 600_000

/** Periodically removes events that are older than `retentionMs`. Returns the function that stops the timer. */
export function startPruningEvents(events: Pick<EventRepository, 'prune'>, retentionMs: number): () => void {
  const prune = () => void events.prune(new Date(Date.now() - retentionMs)).catch(() => {})
  const timer = setInterval(prune, Math.min(retentionMs, PRUNE_EVENTS_INTERVAL_MS))
  timer.unref()
  return () => clearInterval(timer)
}

const PRUNE_DELIVERIES_INTERVAL_MS = 600_000
/** Longer than a write of the journal can be repeated, so that a repeated write adds no second delivery. */
const KEEP_DELIVERED_MS = 86_400_000
const KEEP_FAILED_MS = 14 * 86_400_000

/**
 * Periodically removes deliveries of webhooks a day after their success and 14 days after they were given up. Returns
 * the function that stops the timer.
 */
export function startPruningDeliveries(webhooks: Pick<WebhookRepository, 'prune'>): () => void {
  const prune = () => {
    const now = Date.now()
    const before = { delivered: new Date(now - KEEP_DELIVERED_MS), failed: new Date(now - KEEP_FAILED_MS) }
    void webhooks.prune(before).catch(() => {})
  }
  const timer = setInterval(prune, PRUNE_DELIVERIES_INTERVAL_MS)
  timer.unref()
  return () => clearInterval(timer)
}

const PRUNE_FILES_INTERVAL_MS = 600_000
/** Longer than it takes to add a file with the same bytes. */
const KEEP_UNUSED_MS = 3_600_000

/**
 * Periodically removes files that are older than `retentionMs`, and bytes that no file has. Returns the function that
 * stops the timer.
 */
export function startPruningFiles(
  files: Pick<FileRepository, 'prune'>,
  retentionMs: number | undefined,
  intervalMs = PRUNE_FILES_INTERVAL_MS,
): () => void {
  const prune = () => {
    const now = Date.now()
    const filesBefore = retentionMs === undefined ? undefined : new Date(now - retentionMs)
    void files.prune({ filesBefore, unusedBefore: new Date(now - KEEP_UNUSED_MS) }).catch(() => {})
  }
  const timer = setInterval(prune, Math.min(retentionMs ?? intervalMs, intervalMs))
  timer.unref()
  return () => clearInterval(timer)
}
