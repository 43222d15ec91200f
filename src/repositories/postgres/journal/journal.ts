import { setTimeout as sleep } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import { threadNotFound } from '../../../domain/users/thread.ts'
import type { FlowStatus } from '../../../domain/vocabulary.ts'
import { OrchestratorError } from '../../../errors/orchestrator-error.ts'
import type { Claim, FlowInsert, FlowOutcome, Journal, JournalEntry } from '../../repository.ts'
import { classifyDatabaseError, toDatabaseError } from '../database-errors.ts'
import { canBeFlowId } from '../storable.ts'
import { type JournalStatement, type Operation, takeBatch, toStatement } from './journal-batch.ts'
import { type JournalReply, journalSql } from './journal-sql.ts'

/** What the journal needs of a pool of `pg`. */
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
  readonly recorded: () => number
  /** Milliseconds for which writes are kept and tried again while the database does not answer. */
  readonly retryForMs: number
  /** Each takes a connection of the pool. */
  readonly statementsAtOnce: number
}

export interface ClosableJournal extends Journal {
  /** Resolves when everything accepted is written or rejected; later writes are rejected. */
  close(): Promise<void>
}

/** Writes in one statement at most; bounds its size and what one refused write costs the others. */
const BATCH_LIMIT = 250
/**
 * Writes that are not worth a second statement: what waits is shared out between those that may start, so that the
 * server works on them side by side.
 */
const SMALL_BATCH = 6
/** Milliseconds within which a statement that lost a race is repeated. */
const AGAIN_WITHIN_MS = 4
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 1_000

/**
 * One queue and a few statements under way, never two with writes of one flow; what arrives meanwhile goes together in
 * the next. Each statement is its own transaction.
 */
export function createJournal({ pool, recorded, retryForMs, statementsAtOnce }: JournalOptions): ClosableJournal {
  const queue: Operation[] = []
  const underWay = new Set<Promise<void>>()
  /** Flows with writes under way; with the error of the entry they lost in this statement, if any. */
  const flowsUnderWay = new Map<string, OrchestratorError | undefined>()
  const knownDefinitions = new LRUCache<string, true>({ max: 10_000 })
  const statements = new Map<number, { readonly name: string; readonly text: string }>()
  let scheduled = false
  let closed = false
  let awaySince: number | undefined

  const statementOf = (mask: number) => {
    const known = statements.get(mask)
    if (known) return known
    const statement = { name: `polyphony_journal_${mask}`, text: journalSql(mask) }
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

  async function write(batch: readonly Operation[], mayBeRepeated = false): Promise<void> {
    let statement: JournalStatement
    try {
      statement = toStatement(batch, isKnown, recorded)
    } catch (error) {
      return refuse(
        batch,
        new OrchestratorError('INTERNAL', 'A write cannot be expressed as JSON', { cause: error }),
        mayBeRepeated,
      )
    }
    let repeated = mayBeRepeated
    for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)) {
      try {
        await execute(batch, statement, repeated)
        awaySince = undefined
        return
      } catch (error) {
        const failure = classifyDatabaseError(error)
        if (failure === 'refused') return refuse(batch, toDatabaseError(error), repeated)
        if (failure === 'away') repeated = true
        awaySince ??= performance.now()
        if (performance.now() - awaySince >= retryForMs) return fail(batch, toDatabaseError(error))
        await sleep(failure === 'again' ? Math.random() * AGAIN_WITHIN_MS : pauseMs)
      }
    }
  }

  /** Halves the batch until the write that the database refuses stands alone. */
  async function refuse(batch: readonly Operation[], error: OrchestratorError, repeated: boolean): Promise<void> {
    if (batch.length === 1) return fail(batch, error)
    const middle = batch.length >> 1
    await write(batch.slice(0, middle), repeated)
    const rest = batch.slice(middle).filter((operation) => !failBehind(operation))
    if (rest.length > 0) await write(rest, repeated)
  }

  /**
   * What already waits behind a lost entry is lost with it: no flow may be finished over a result that is not stored.
   */
  function fail(batch: readonly Operation[], error: OrchestratorError): void {
    const flowIds = new Set(batch.map((operation) => operation.flowId))
    for (const operation of batch) {
      operation.fail(error)
      if (operation.kind === 'entry') flowsUnderWay.set(operation.flowId, error)
    }
    const rest = queue.filter((operation) => !(flowIds.has(operation.flowId) && failBehind(operation)))
    queue.splice(0, queue.length, ...rest)
  }

  function failBehind(operation: Operation): boolean {
    const error = operation.kind === 'entry' ? flowsUnderWay.get(operation.flowId) : undefined
    if (error) operation.fail(error)
    return error !== undefined
  }

  // Not at once: what a flow writes in one go belongs into one statement. While one is under way, what else arrives in
  // this turn is worth the wait for its end.
  const schedule = () => {
    if (scheduled || queue.length === 0 || underWay.size >= statementsAtOnce) return
    scheduled = true
    if (underWay.size === 0) process.nextTick(start)
    else setImmediate(start)
  }

  function start(): void {
    scheduled = false
    while (underWay.size < statementsAtOnce) {
      const share = Math.ceil(queue.length / (statementsAtOnce - underWay.size))
      const batch = takeBatch(queue, Math.min(Math.max(share, SMALL_BATCH), BATCH_LIMIT), flowsUnderWay)
      if (batch.length === 0) return
      underWay.add(startWriting(batch))
    }
  }

  function startWriting(batch: readonly Operation[]): Promise<void> {
    for (const { flowId } of batch) flowsUnderWay.set(flowId, undefined)
    const writing = write(batch).then(() => {
      underWay.delete(writing)
      for (const { flowId } of batch) flowsUnderWay.delete(flowId)
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

  return {
    createFlow: (flow: FlowInsert) =>
      new Promise<void>((resolve, reject) => {
        if (!canBeFlowId(flow.id))
          return reject(new OrchestratorError('INTERNAL', 'Expected a UUID in lower case as the id of a flow'))
        const settle: Operation['settle'] = (reply, repeated) => {
          if (reply?.[0] === 'thread_missing') reject(threadNotFound(flow.threadId))
          else if (reply && !repeated) reject(alreadyThere(flow.id))
          else resolve()
        }
        enqueue({ kind: 'create', flowId: flow.id, flow, settle, fail: reject })
      }),
    claim: (claim: Claim) =>
      new Promise((resolve, reject) => {
        if (!canBeFlowId(claim.flowId)) return resolve({ status: undefined })
        const settle: Operation['settle'] = (reply, repeated) => resolve(toClaimAnswer(claim, reply, repeated))
        enqueue({ kind: 'claim', flowId: claim.flowId, claim, settle, fail: reject })
      }),
    append: (entry) => writeEntry(entry),
    finish: ({ outcome, ...entry }) => writeEntry(entry, outcome),
    async close() {
      closed = true
      while (queue.length > 0 || underWay.size > 0) {
        await nextTurn()
        await Promise.all(underWay)
      }
    },
  }
}

const nextTurn = () => new Promise<void>((resolve) => setImmediate(resolve))

function toClaimAnswer(
  claim: Claim,
  reply: JournalReply | undefined,
  repeated: boolean,
): { epoch: number } | { status: FlowStatus | undefined } {
  if (!reply) return { status: undefined }
  if (reply[0] === 'claimed') return { epoch: reply[2] }
  if (reply[0] !== 'refused') return { status: undefined }
  const [, , epoch, status, ownerId, startedMs] = reply
  const ours = status === 'RUNNING' && ownerId === claim.ownerId && startedMs === claim.startedAt.getTime()
  if (repeated && ours) return { epoch }
  // The reply is as old as the statement: where it shows a status that may be claimed, another claim came first.
  return { status: claim.from.some((from) => from === status) ? 'RUNNING' : status }
}

const alreadyThere = (flowId: string) =>
  new OrchestratorError('INTERNAL', `Expected a new id for a flow, found that flow ${flowId} exists`, { details: { flowId } })

const fencedOut = (flowId: string, epoch: number) =>
  new OrchestratorError(
    'FLOW_INTERRUPTED',
    `Flow ${flowId} is not owned under epoch ${epoch} any more: another process took it over, or it was deleted`,
    {
      details: { flowId, epoch },
    },
  )

/** Numbers that order what this process records: microseconds since 1970, each above the one before. */
export function createRecordedClock(now: () => number): () => number {
  let last = 0
  return () => {
    last = Math.max(last + 1, now() * 1_000)
    return last
  }
}
