import type { EventQuery, PolyphonyEvent } from '../../domain/event.ts'
import type { EventRepository, UpdateRepository } from '../../repositories/repository.ts'
import { areFlowTypes, isMeantFlowEvent, toFlowEvent } from './flow-events.ts'

export interface ReadEventsDeps {
  readonly log: Pick<EventRepository, 'read' | 'readNewest' | 'newestSeq'>
  readonly updates: Pick<UpdateRepository, 'read'>
}

/** Events and updates per read, so that any number of them takes the memory of two pages. */
const PAGE = 500

/** The stored events of the log and of one flow, by time, up to what is stored now. */
export async function* readStoredEvents(
  { log, updates }: ReadEventsDeps,
  query: EventQuery,
  flow: { readonly id: string; readonly userId?: string } | undefined,
): AsyncGenerator<PolyphonyEvent, void> {
  const throughSeq = Math.min(query.throughSeq ?? Number.MAX_SAFE_INTEGER, await log.newestSeq())
  const logged = readLog(log, { ...query, throughSeq })
  if (!flow || !areFlowTypes(query.types)) return yield* logged
  yield* mergeByTime(logged, readFlow(updates, query, flow))
}

async function* readLog(log: ReadEventsDeps['log'], query: EventQuery): AsyncGenerator<PolyphonyEvent, void> {
  let afterSeq = query.afterSeq ?? 0
  for (let isLast = false; !isLast; ) {
    const page = await log.read({ ...query, afterSeq }, PAGE)
    yield* page
    afterSeq = page.at(-1)?.seq ?? afterSeq
    isLast = page.length < PAGE
  }
}

async function* readFlow(
  updates: ReadEventsDeps['updates'],
  query: EventQuery,
  { id, userId }: { readonly id: string; readonly userId?: string },
): AsyncGenerator<PolyphonyEvent, void> {
  let afterSeq = query.afterUpdateSeq ?? 0
  for (let isLast = false; !isLast; ) {
    const page = await updates.read(id, afterSeq, PAGE)
    for (const update of page) {
      const event = toFlowEvent(id, update, userId)
      if (event && isMeantFlowEvent(event, query)) yield event
    }
    afterSeq = page.at(-1)?.seq ?? afterSeq
    isLast = page.length < PAGE
  }
}

async function* mergeByTime(
  one: AsyncGenerator<PolyphonyEvent, void>,
  other: AsyncGenerator<PolyphonyEvent, void>,
): AsyncGenerator<PolyphonyEvent, void> {
  let [left, right] = [await one.next(), await other.next()]
  while (!left.done && !right.done) {
    if (right.value.timestamp <= left.value.timestamp) {
      yield right.value
      right = await other.next()
    } else {
      yield left.value
      left = await one.next()
    }
  }
  for (; !left.done; left = await one.next()) yield left.value
  for (; !right.done; right = await other.next()) yield right.value
}
