/** The schema of BullMQ's tables. BullMQ allows no other name for the connections of a pool that it is given. */
export const BULLMQ_SCHEMA = 'bullmq'

import { SLOT_ATTEMPTS, SLOT_JOB, slotJobOptions } from './slot-queue.ts'

const text = (value: string) => `'${value.replaceAll("'", "''")}'`

/**
 * An SQL expression that adds a slot and gives the id of its job, so that a flow and its slot are stored by one
 * statement. BullMQ's function is not documented: a test compares what it writes with what BullMQ's own classes write,
 * and must pass before another version is used. The time is the database's own.
 */
export function addSlotSql(queueName: string): string {
  const options = text(JSON.stringify(slotJobOptions))
  const nowMs = '(extract(epoch from clock_timestamp()) * 1000)::bigint'
  const jobId = 'gen_random_uuid()::text'
  const unused = 'null, null, null, null, null'
  return `${BULLMQ_SCHEMA}.add_job(${text(queueName)}, ${jobId}, ${text(SLOT_JOB)}, '{}'::jsonb, ${options}::jsonb, 0, 0, ${nowMs}, ${SLOT_ATTEMPTS}, ${unused}, false)`
}
