import { setTimeout as sleep } from 'node:timers/promises'
import { LRUCache } from 'lru-cache'
import type { FlowStatus } from '../domain/flow.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'
import { classifyDatabaseError, toDatabaseError } from './database-errors.ts'
import { canBeFlowId } from './flow-key.ts'
import { type JournalStatement, type Operation, takeBatch, toStatement } from './journal-batch.ts'
import { type JournalReplyRow, journalSql } from './journal-sql.ts'
import type { Claim, FlowOutcome, Journal, JournalEntry, NewFlow } from './repository.ts'

/** What the journal needs of a pool of `pg`. */
export interface JournalPool {
  query(statement: {
    readonly name: string
    readonly text: string
    readonly values: string[]
    readonly rowMode: 'array'
  }): Promise<{ readonly rows: readonly JournalReplyRow[] }>
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
/** Milliseconds within which a statement that lost a race is repeated. */
const AGAIN_WITHIN_MS = 4
const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 1_000

/**
 * One queue and a few statements under way, never two with writes of one flow; what arrives meanwhile goes together in the next. Each statement is its own
 * transaction.
 */
export function createJournal({ pool, recorded, retryForMs, statementsAtOnce }: JournalOptions): ClosableJournal {
  const queue: Operation[] = []
  const underWay = new Set<Promise<void>>()
  const flowsUnderWay = new Set<string>()
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
    const { rows } = await pool.query({
      ...statementOf(mask),
      values: [...values],
      rowMode: 'array',
    })
    for (const hash of definitionHashes) knownDefinitions.set(hash, true)
    const replies = new Map(rows.map((row) => [row[1], row]))
    for (const operation of batch) operation.settle(replies.get(operation.flowId), repeated)
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
        if (performance.now() - awaySince >= retryForMs) return failAll(batch, toDatabaseError(error))
        await sleep(failure === 'again' ? Math.random() * AGAIN_WITHIN_MS : pauseMs)
      }
    }
  }

  /** Halves the batch until the write that the database refuses stands alone. */
  async function refuse(batch: readonly Operation[], error: OrchestratorError, repeated: boolean): Promise<void> {
    if (batch.length === 1) return failAll(batch, error)
    const middle = batch.length >> 1
    await write(batch.slice(0, middle), repeated)
    await write(batch.slice(middle), repeated)
  }

  // Whoever was answered in this turn writes again in this turn, or after a model call: so the next batch is taken when it is over.
  const schedule = () => {
    if (scheduled || queue.length === 0 || underWay.size >= statementsAtOnce) return
    scheduled = true
    setImmediate(start)
  }

  function start(): void {
    scheduled = false
    const batch = takeBatch(queue, BATCH_LIMIT, flowsUnderWay)
    if (batch.length === 0) return
    for (const { flowId } of batch) flowsUnderWay.add(flowId)
    const writing = write(batch).then(() => {
      underWay.delete(writing)
      for (const { flowId } of batch) flowsUnderWay.delete(flowId)
      schedule()
    })
    underWay.add(writing)
    schedule()
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
      const settle = (reply: JournalReplyRow | undefined) => (reply ? reject(fencedOut(flowId, epoch)) : resolve())
      enqueue({ kind: 'entry', flowId, entry, outcome, settle, fail: reject })
    })

  return {
    createFlow: (flow: NewFlow) =>
      new Promise<void>((resolve, reject) => {
        if (!canBeFlowId(flow.id))
          return reject(new OrchestratorError('INTERNAL', 'Expected a UUID in lower case as the id of a flow'))
        const settle: Operation['settle'] = (reply, repeated) => (reply && !repeated ? reject(alreadyThere(flow.id)) : resolve())
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

function failAll(batch: readonly Operation[], error: OrchestratorError): void {
  for (const operation of batch) operation.fail(error)
}

function toClaimAnswer(
  claim: Claim,
  reply: JournalReplyRow | undefined,
  repeated: boolean,
): { epoch: number } | { status: FlowStatus | undefined } {
  if (!reply) return { status: undefined }
  const [kind, , epoch, status, ownerId, startedAt] = reply
  if (kind === 'claimed' && epoch !== null) return { epoch }
  const ours = status === 'RUNNING' && ownerId === claim.ownerId && startedAt?.getTime() === claim.startedAt.getTime()
  if (repeated && ours && epoch !== null) return { epoch }
  // The reply is as old as the statement: where it shows a status that may be claimed, another claim came first.
  return { status: claim.from.some((from) => from === status) ? 'RUNNING' : (status ?? undefined) }
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
