import { setTimeout as sleep } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type { FlowStart } from '../../../domain/execution/flow.ts'
import { threadNotFound } from '../../../domain/users/thread.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { ClaimAnswer, FlowInsert, FlowOutcome, Journal, JournalEntry } from '../../repository.ts'
import { classifyDatabaseError, toDatabaseError } from '../database-errors.ts'
import { canBeFlowId } from '../storable.ts'
import { toClaimAnswer } from './claim-answer.ts'
import { type JournalStatement, type Operation, takeBatch, toStatement } from './journal-batch.ts'
import { type JournalReply, journalSql } from './journal-sql.ts'
import { createOutage } from './outage.ts'

/** The part of a pool of `pg` that the journal uses. */
export interface JournalPool {
  query(statement: {
    readonly name: string
    readonly text: string
    readonly values: string[]
    readonly rowMode: 'array'
  }): Promise<{ readonly rows: readonly (readonly [JournalReply])[] }>
}

export interface JournalOptions {
  readonly pool: JournalPool
  /** Numbers the rows that are written, in ascending order. */
  readonly nextRecorded: () => number
  /**
   * Milliseconds for which creations and claims are repeated while the database does not answer. Entries of running
   * flows are kept until `close`, unless it is 0: then nothing is repeated.
   */
  readonly retryForMs: number
  /** Bytes of entries that may wait during an outage. Default: 256 MiB. */
  readonly maxKeptBytes?: number
  /** Called once per outage when an entry is rejected because too many wait. */
  readonly onOverflow?: (keptBytes: number) => void
  /** Statements that run at the same time. Each takes a connection of the pool. */
  readonly statementsAtOnce: number
  /** SQL expression that adds a job for a queued flow `r`, with `r.id` and `r.user_id`. Implemented by engines. */
  readonly addJob?: string
}

export interface ClosableJournal extends Journal {
  /** From now on, writes are repeated for at most 10 seconds while the database does not answer. */
  expectClose(): void
  /** Resolves when every accepted write is durable or rejected. Later writes reject with DATABASE_UNAVAILABLE. */
  close(): Promise<void>
}

/**
 * Maximum number of writes in one statement. It limits the size of a statement and the number of writes that a refused
 * one delays.
 */
const BATCH_LIMIT = 250
/**
 * Waiting writes are divided among the statements that may start, so that the server works on them in parallel. Fewer
 * writes than this are not worth a statement of their own.
 */
const SMALL_BATCH = 6
/** Milliseconds within which a statement is repeated after a deadlock or a serialization failure. */
const CONFLICT_PAUSE_MS = 4
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 1_000
const MAX_KEPT_BYTES = 256 * 1_024 * 1_024

/**
 * Batches writes: one queue, and a few statements that run at the same time, never two with writes of one flow. Writes
 * that arrive meanwhile go into the next statement. Each statement is a transaction of its own.
 */
export function createJournal(options: JournalOptions): ClosableJournal {
  const { pool, nextRecorded, retryForMs, statementsAtOnce, addJob, onOverflow, maxKeptBytes = MAX_KEPT_BYTES } = options
  const outage = createOutage({ retryForMs, maxKeptBytes, onOverflow })
  const queue: Operation[] = []
  const running = new Set<Promise<void>>()
  /** Flows with writes in a running statement, with the error of the entry that failed in it, if any. */
  const flowsInWriting = new Map<string, OrchestratorError | undefined>()
  const knownDefinitions = new LRUCache<string, true>({ max: 10_000 })
  const statements = new Map<number, { readonly name: string; readonly text: string }>()
  let scheduled = false
  let closed = false

  const statementOf = (mask: number) => {
    const known = statements.get(mask)
    if (known) return known
    const statement = { name: `polyphony_journal_${mask}`, text: journalSql(mask, addJob) }
    statements.set(mask, statement)
    return statement
  }

  const isKnown = (hash: string) => knownDefinitions.has(hash)

  async function execute(batch: readonly Operation[], statement: JournalStatement, repeated: boolean): Promise<void> {
    const { mask, values, definitionHashes } = statement
    const { name, text } = statementOf(mask)
    const { rows } = await pool.query({ name, text, values, rowMode: 'array' })
    for (const hash of definitionHashes) knownDefinitions.set(hash, true)
    const replies = rows.length > 0 ? new Map(rows.map(([reply]) => [reply[1], reply])) : undefined
    for (const operation of batch) operation.settle(replies?.get(operation.flowId), repeated)
  }

  async function write(given: readonly Operation[], mayBeRepeated = false): Promise<void> {
    let batch = given
    let statement: JournalStatement
    try {
      statement = toStatement(batch, isKnown, nextRecorded)
    } catch (error) {
      return refuse(
        batch,
        new OrchestratorError('INTERNAL', 'A write holds a value that cannot be expressed as JSON', {
          cause: error,
        }),
        mayBeRepeated,
      )
    }
    let repeated = mayBeRepeated
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      try {
        await execute(batch, statement, repeated)
        outage.ended()
        return
      } catch (error) {
        const failure = classifyDatabaseError(error)
        if (failure === 'refused') return refuse(batch, toDatabaseError(error), repeated)
        if (failure === 'unavailable') repeated = true
        outage.failed(queue)
        const kept = failOver(batch, toDatabaseError(error))
        if (kept.length === 0) return
        if (kept.length < batch.length) statement = toStatement(kept, isKnown, nextRecorded)
        batch = kept
        await sleep(failure === 'conflict' ? Math.random() * CONFLICT_PAUSE_MS : pauseMs)
      }
    }
  }

  /** Rejects writes of the batch and of the queue that have waited long enough; returns the others of the batch. */
  function failOver(batch: readonly Operation[], error: OrchestratorError): readonly Operation[] {
    const over = batch.filter(outage.isOver)
    if (over.length > 0) fail(over, error)
    // They do not wait for a statement of their own, because all statements may be occupied by entries.
    const waiting = queue.filter((operation) => {
      const isOver = outage.isOver(operation)
      if (isOver) operation.fail(error)
      return !isOver
    })
    queue.splice(0, queue.length, ...waiting)
    return batch.filter((operation) => !over.includes(operation))
  }

  /** Halves the batch until it holds only the write that the database refuses. */
  async function refuse(batch: readonly Operation[], error: OrchestratorError, repeated: boolean): Promise<void> {
    if (batch.length === 1) return fail(batch, error)
    const middle = batch.length >> 1
    await write(batch.slice(0, middle), repeated)
    const rest = batch.slice(middle).filter((operation) => !failAfterLostEntry(operation))
    if (rest.length > 0) await write(rest, repeated)
  }

  /**
   * Rejects the batch, and with a failed entry all waiting entries of its flow: a flow must not be finished when one of
   * its results is not stored.
   */
  function fail(batch: readonly Operation[], error: OrchestratorError): void {
    const flowIds = new Set(batch.map((operation) => operation.flowId))
    for (const operation of batch) {
      operation.fail(error)
      if (operation.kind === 'entry') flowsInWriting.set(operation.flowId, error)
    }
    const rest = queue.filter((operation) => !(flowIds.has(operation.flowId) && failAfterLostEntry(operation)))
    queue.splice(0, queue.length, ...rest)
  }

  function failAfterLostEntry(operation: Operation): boolean {
    const error = operation.kind === 'entry' ? flowsInWriting.get(operation.flowId) : undefined
    if (error) operation.fail(error)
    return error !== undefined
  }

  // Not synchronously, so that consecutive writes of a flow go into one statement. While a statement is running,
  // waiting for the end of this turn of the event loop lets more writes join the next one.
  const schedule = () => {
    if (scheduled || queue.length === 0 || running.size >= statementsAtOnce) return
    scheduled = true
    if (running.size === 0) process.nextTick(start)
    else setImmediate(start)
  }

  function start(): void {
    scheduled = false
    while (running.size < statementsAtOnce) {
      const share = Math.ceil(queue.length / (statementsAtOnce - running.size))
      const batch = takeBatch(queue, Math.min(Math.max(share, SMALL_BATCH), BATCH_LIMIT), flowsInWriting)
      if (batch.length === 0) return
      running.add(startWriting(batch))
    }
  }

  function startWriting(batch: readonly Operation[]): Promise<void> {
    for (const { flowId } of batch) flowsInWriting.set(flowId, undefined)
    const writing = write(batch).then(() => {
      running.delete(writing)
      for (const { flowId } of batch) flowsInWriting.delete(flowId)
      schedule()
    })
    return writing
  }

  const enqueue = (operation: Operation) => {
    if (closed) {
      operation.fail(
        new OrchestratorError('DATABASE_UNAVAILABLE', 'The database of this instance is closed', { retryable: false }),
      )
      return
    }
    if (!outage.accepts(operation)) {
      const message = 'The database does not answer, and too many writes wait for it'
      operation.fail(new OrchestratorError('DATABASE_UNAVAILABLE', message))
      return
    }
    queue.push(operation)
    schedule()
  }

  const writeEntry = (entry: JournalEntry, outcome?: FlowOutcome) =>
    new Promise<void>((resolve, reject) => {
      const { flowId, epoch } = entry
      if (!canBeFlowId(flowId)) return reject(fencedOut(flowId, epoch))
      const settle = (reply: JournalReply | undefined) => (reply ? reject(fencedOut(flowId, epoch)) : resolve())
      enqueue({ kind: 'entry', flowId, entry, outcome, settle, fail: reject })
    })

  const writeClaim = (claim: FlowStart, ownerId?: string, jobId?: string) =>
    new Promise<ClaimAnswer>((resolve, reject) => {
      if (!canBeFlowId(claim.flowId)) return resolve({ status: undefined })
      const settle: Operation['settle'] = (reply, repeated) => resolve(toClaimAnswer(claim, ownerId, reply, repeated))
      enqueue({ kind: 'claim', flowId: claim.flowId, claim, ownerId, jobId, settle, fail: reject })
    })

  return {
    createFlow: (flow: FlowInsert) =>
      new Promise<void>((resolve, reject) => {
        if (!canBeFlowId(flow.id))
          return reject(new OrchestratorError('INTERNAL', 'Expected a UUID in lower case as the id of a flow'))
        const settle: Operation['settle'] = (reply, repeated) => {
          if (reply?.[0] === 'thread_missing') reject(threadNotFound(flow.threadId))
          else if (reply && !repeated) reject(idInUse(flow.id))
          else resolve()
        }
        enqueue({ kind: 'create', flowId: flow.id, flow, settle, fail: reject })
      }),
    claim: (claim) => writeClaim(claim, claim.ownerId, claim.jobId),
    enqueue: (start) => writeClaim(start),
    append: (entry) => writeEntry(entry),
    finish: ({ outcome, ...entry }) => writeEntry(entry, outcome),
    expectClose: outage.expectClose,
    async close() {
      closed = true
      outage.expectClose()
      while (queue.length > 0 || running.size > 0) {
        await nextTurn()
        await Promise.all(running)
      }
    },
  }
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve))

const idInUse = (flowId: string) =>
  new OrchestratorError('INTERNAL', `Expected a new id for a flow, found that flow ${flowId} exists`, { details: { flowId } })

const fencedOut = (flowId: string, epoch: number) =>
  new OrchestratorError(
    'FLOW_INTERRUPTED',
    `Flow ${flowId} is no longer owned under epoch ${epoch}: another process took it over, or it was deleted`,
    {
      details: { flowId, epoch },
    },
  )

/** Ascending numbers for the rows that this process writes: microseconds since 1970, each above the one before. */
export function createSequence(now: () => number): () => number {
  let last = 0
  return () => {
    last = Math.max(last + 1, now() * 1_000)
    return last
  }
}
