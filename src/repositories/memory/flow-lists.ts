import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowCursor, ListFlowsQuery, NamedFlow } from '../repository.ts'
import type { FlowListEntry } from './records.ts'

type SortValue = number | string | undefined

/** The position of a flow in one list. */
interface Position {
  readonly value: SortValue
  readonly id: string
}

const SORT_KEYS = { name: 'name', createdAt: 'createdAtMs', completedAt: 'completedAtMs' } as const

export function selectFlowIds(rows: Iterable<FlowListEntry>, query: ListFlowsQuery): string[] {
  const { threadId, userId, status, type, limit, offset, sortBy, sortOrder, after } = query
  if ((threadId === undefined) === (userId === undefined)) {
    throw new OrchestratorError('INTERNAL', 'Expected a list of flows either of a thread or of a user')
  }
  const isMeant = (row: FlowListEntry) =>
    (threadId === undefined ? row.userId === userId : row.threadId === threadId) &&
    (!status || row.status === status) &&
    (!type || row.flowType === type)
  const positions: Position[] = []
  for (const row of rows) if (isMeant(row)) positions.push({ value: row[SORT_KEYS[sortBy]], id: row.id })
  const compare = inOrder(sortOrder)
  const start = after && fromCursor(after)
  return positions
    .filter((position) => !start || compare(position, start) > 0)
    .sort(compare)
    .slice(offset, offset + limit)
    .map(({ id }) => id)
}

/** The newest of the rows that `fits` accepts. */
export function newestOf(rows: Iterable<FlowListEntry>, fits: (row: FlowListEntry) => boolean): FlowListEntry | undefined {
  let newest: FlowListEntry | undefined
  for (const row of rows) if (fits(row) && (!newest || isNewer(row, newest))) newest = row
  return newest
}

export function selectNames(rows: Iterable<FlowListEntry>, userId: string, limit: number): NamedFlow[] {
  const newest = new Map<string, FlowListEntry>()
  for (const row of rows) {
    if (row.userId !== userId) continue
    const known = newest.get(row.name)
    if (!known || isNewer(row, known)) newest.set(row.name, row)
  }
  return [...newest.values()]
    .sort((a, b) => (isNewer(a, b) ? -1 : 1))
    .slice(0, limit)
    .map(({ name, id, threadId, createdAtMs }) => ({ name, flowId: id, threadId, createdAt: new Date(createdAtMs) }))
}

const isNewer = (a: FlowListEntry, b: FlowListEntry): boolean =>
  a.createdAtMs > b.createdAtMs || (a.createdAtMs === b.createdAtMs && a.id > b.id)

const fromCursor = ({ value, id }: FlowCursor): Position => ({
  value: value instanceof Date ? value.getTime() : (value ?? undefined),
  id,
})

const inOrder = (sortOrder: ListFlowsQuery['sortOrder']) => {
  const direction = sortOrder === 'ASC' ? 1 : -1
  return (a: Position, b: Position): number =>
    absentLast(a.value, b.value) || direction * (compareValues(a.value, b.value) || compareValues(a.id, b.id))
}

const absentLast = (a: SortValue, b: SortValue): number => Number(a === undefined) - Number(b === undefined)

function compareValues(a: SortValue, b: SortValue): number {
  if (a === undefined || b === undefined) return 0
  return a < b ? -1 : a > b ? 1 : 0
}
