import type { Pool, PoolClient } from 'pg'
import { toStorableText } from '../../../domain/storable-text.ts'
import type { ClaimNext, ClaimNextAnswer, OrphanOptions, QueueCounts, QueuedFlow, QueueRepository } from '../../repository.ts'
import { guarded } from '../database-errors.ts'
import { canBeFlowId } from '../storable.ts'
import { inTransaction } from '../transaction.ts'
import {
  CLAIM_NEXT_SQL,
  COUNTS_SQL,
  FIND_QUEUED_SQL,
  LOCK_USERS_SQL,
  QUEUED_AT_SQL,
  RELEASE_SQL,
  REQUEUE_SQL,
  UNRUNNABLE_SQL,
  WAKE_DUE_SQL,
  WAKE_SQL,
} from './queue-sql.ts'

interface ClaimedRow {
  readonly flowId: string | null
  readonly epoch: number | null
  readonly unrunnable: number
}

interface QueuedRow extends Omit<QueuedFlow, 'requires'> {
  readonly requires: string | null
}

interface UnrunnableRow {
  readonly name: string
  readonly version: string | null
  readonly newerVersion: number | null
  readonly flows: number
}

/** The clock of the database is read again while an answer took long, because it is only as exact as that. */
const CLOCK_READS = 5
const EXACT_ROUND_TRIP_MS = 20

async function readClock(pool: Pool): Promise<{ readonly offsetMs: number; readonly roundTripMs: number }> {
  const before = Date.now()
  const { rows } = await pool.query<{ nowMs: number }>('select (extract(epoch from clock_timestamp()) * 1000)::float8 as "nowMs"')
  const after = Date.now()
  return { offsetMs: (before + after) / 2 - (rows[0]?.nowMs ?? before), roundTripMs: after - before }
}

export function createQueueRepository(pool: Pool): QueueRepository {
  const claimNextSql = ({ ownerId, startedAt, registered, perUser, jobId }: ClaimNext) => ({
    name: 'polyphony_claim_next',
    text: CLAIM_NEXT_SQL,
    values: [ownerId, startedAt, registered.map(toStorableText), perUser ?? null, jobId ?? null],
  })

  /** Two claims at the same time would both count the flows of a user before either of them has added one. */
  async function claimUnderLimit(request: ClaimNext): Promise<readonly ClaimedRow[]> {
    const claim = (client: PoolClient) => client.query<ClaimedRow>(claimNextSql(request))
    return (await inTransaction(pool, claim, LOCK_USERS_SQL)).rows
  }

  const claimedRows = async (request: ClaimNext): Promise<readonly ClaimedRow[]> =>
    request.perUser === undefined ? (await pool.query<ClaimedRow>(claimNextSql(request))).rows : claimUnderLimit(request)

  return {
    claimNext: guarded(async (request: ClaimNext): Promise<ClaimNextAnswer> => {
      const [row] = await claimedRows(request)
      if (!row || row.flowId === null || row.epoch === null) return { unrunnable: row?.unrunnable ?? 0 }
      return { flowId: row.flowId, epoch: row.epoch }
    }),

    release: guarded(async ({ flowId, epoch }: { readonly flowId: string; readonly epoch: number }) => {
      if (!canBeFlowId(flowId)) return false
      const { rows } = await pool.query(RELEASE_SQL, [flowId, epoch])
      return rows.length > 0
    }),

    wake: guarded(async (flowId: string) => {
      if (!canBeFlowId(flowId)) return false
      const { rows } = await pool.query(WAKE_SQL, [flowId])
      return rows.length > 0
    }),

    wakeDue: guarded(async (limit: number) => {
      const { rows } = await pool.query<{ id: string }>(WAKE_DUE_SQL, [limit])
      return rows.map(({ id }) => id)
    }),

    requeueOrphans: guarded(async ({ staleMs, isDead }: OrphanOptions) => {
      const { rows: owners } = await pool.query<Parameters<typeof isDead>[0]>('select id, host, pid from polyphony_owners')
      const dead = owners.filter(isDead).map(({ id }) => id)
      const { rows } = await pool.query<{ id: string }>(REQUEUE_SQL, [dead, staleMs])
      return rows.map(({ id }) => id)
    }),

    findQueued: guarded(async (olderThanMs: number, limit: number) => {
      const { rows } = await pool.query<QueuedRow>(FIND_QUEUED_SQL, [olderThanMs, limit])
      return rows.map(({ requires, ...flow }) => (requires === null ? flow : { ...flow, requires }))
    }),

    queuedAt: guarded(async (flowId: string) => {
      if (!canBeFlowId(flowId)) return undefined
      const { rows } = await pool.query<{ queuedAt: Date }>(QUEUED_AT_SQL, [flowId])
      return rows[0]?.queuedAt
    }),

    countsByUser: guarded(async () => {
      const { rows } = await pool.query<QueueCounts & { readonly userId: string }>(COUNTS_SQL)
      return new Map(rows.map(({ userId, ...counts }) => [userId, counts]))
    }),

    unrunnable: guarded(async (registered: readonly string[]) => {
      const { rows } = await pool.query<UnrunnableRow>(UNRUNNABLE_SQL, [registered.map(toStorableText)])
      return rows.map(({ name, version, newerVersion, flows }) => ({
        name,
        ...(version !== null && { version }),
        ...(newerVersion !== null && { newerVersion }),
        flows,
      }))
    }),

    clockOffsetMs: guarded(async () => {
      let best = await readClock(pool)
      for (let read = 1; read < CLOCK_READS && best.roundTripMs > EXACT_ROUND_TRIP_MS; read++) {
        const next = await readClock(pool)
        if (next.roundTripMs < best.roundTripMs) best = next
      }
      return best.offsetMs
    }),
  }
}
