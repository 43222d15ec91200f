import type { DataSource } from 'typeorm'
import type { PageCursor } from '../../../domain/page-cursor.ts'
import { toStorableText } from '../../../domain/storable-text.ts'
import type { Message, Thread } from '../../../domain/users/thread.ts'
import { fieldsOf } from '../../columns/column.ts'
import { type MessageRow, THREAD_COLUMNS, type ThreadRow } from '../../columns/conversation-columns.ts'
import type { ThreadRepository } from '../../repository.ts'
import { guarded } from '../database-errors.ts'
import { MessageEntity, ThreadEntity } from '../entities.ts'
import { pickNonNull } from '../rows.ts'

// A separate statement, because the deletion must take its snapshot afterwards: it must see all flows that were created
// in the thread before it was locked.
const LOCK_SQL = 'select from polyphony_threads where id = $1 for update'

const DELETE_SQL = `with gone as (delete from polyphony_threads where id = $1 returning id),
messages as (delete from polyphony_messages where thread_id in (select id from gone)),
files as (delete from polyphony_files where thread_id in (select id from gone)),
permissions as (delete from polyphony_thread_permissions where thread_id in (select id from gone)),
flows as (delete from polyphony_flows where thread_id in (select id from gone) returning id),
claims as (delete from polyphony_flow_claims where flow_id in (select id from flows)),
waits as (delete from polyphony_flow_waits where flow_id in (select id from flows)),
results as (delete from polyphony_step_results where flow_id in (select id from flows)),
attempts as (delete from polyphony_step_attempts where flow_id in (select id from flows)),
updates as (delete from polyphony_flow_updates where flow_id in (select id from flows)),
intents as (delete from polyphony_call_intents where flow_id in (select id from flows)),
turns as (delete from polyphony_step_turns where flow_id in (select id from flows))
select id from gone`

export function createThreadRepository(dataSource: DataSource, nextRecorded: () => number): ThreadRepository {
  const threads = dataSource.getRepository(ThreadEntity)
  const messages = dataSource.getRepository(MessageEntity)

  return {
    create: guarded(async (thread: Thread) => {
      await threads.insert({ id: thread.id, userId: thread.userId, title: thread.title ?? null, createdAt: thread.createdAt })
    }),

    find: guarded(async (threadId: string) => {
      const row = await threads.findOneBy({ id: threadId })
      return row ? fromThreadRow(row) : undefined
    }),

    list: guarded(async (userId: string, limit: number, offset: number, after?: PageCursor) => {
      const query = threads.createQueryBuilder('thread').where({ userId })
      if (after) query.andWhere('(thread.createdAt, thread.id) < (:value::timestamptz, :id::text)', { ...after })
      const rows = await query.orderBy({ 'thread.createdAt': 'DESC', 'thread.id': 'DESC' }).limit(limit).offset(offset).getMany()
      return rows.map(fromThreadRow)
    }),

    delete: guarded(async (threadId: string) => {
      const key = [toStorableText(threadId)]
      const gone: unknown = await dataSource.transaction('READ COMMITTED', async (manager) => {
        await manager.query(LOCK_SQL, key)
        return manager.query(DELETE_SQL, key)
      })
      return Array.isArray(gone) && gone.length > 0
    }),

    addMessage: guarded(async (message: Message) => {
      const row = toMessageRow(message, nextRecorded())
      await messages.createQueryBuilder().insert().values(row).orIgnore().updateEntity(false).execute()
    }),

    addMessages: guarded(async (added: readonly Message[]) => {
      if (added.length > 0) await messages.insert(added.map((message) => toMessageRow(message, nextRecorded())))
    }),

    messages: guarded(async (threadId: string, limit?: number, role?: Message['role']) => {
      const rows = await messages.find({
        where: { threadId, ...(role && { role }) },
        order: { createdAt: 'DESC', recorded: 'DESC' },
        take: limit,
      })
      return rows.reverse().map(fromMessageRow)
    }),

    newestUserMessage: guarded(async (threadId: string) => {
      const row = await messages.findOne({ where: { threadId, role: 'user' }, order: { createdAt: 'DESC', recorded: 'DESC' } })
      return row ? fromMessageRow(row) : undefined
    }),

    findMessage: guarded(async (threadId: string, messageId: string) => {
      const row = await messages.findOneBy({ id: messageId, threadId })
      return row ? fromMessageRow(row) : undefined
    }),
  }
}

const THREAD_PROPERTIES = fieldsOf(THREAD_COLUMNS).map(({ property }) => property)

const fromThreadRow = (row: ThreadRow): Thread => pickNonNull(row, THREAD_PROPERTIES, {})

const toMessageRow = ({ attachments, ...message }: Message, recorded: number): MessageRow => ({
  ...message,
  attachments: attachments ? [...attachments] : null,
  recorded: String(recorded),
})

const fromMessageRow = ({ recorded: _, attachments, metadata, ...message }: MessageRow): Message => ({
  ...message,
  metadata: { ...metadata },
  ...(attachments && { attachments }),
})
