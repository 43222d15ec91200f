import type { StepWait, StoredWait } from '../../../domain/waiting/wait.ts'
import { fieldsOf } from '../../columns/column.ts'
import { WAIT_COLUMNS, type WaitRow } from '../../columns/wait-columns.ts'
import { selectList } from '../column-sql.ts'
import { type JsonRow, pickNonNull } from '../rows.ts'

type OpenWaitProperty = Exclude<keyof typeof WAIT_COLUMNS, 'decision' | 'decidedBy' | 'decidedAt'>
export type WaitJson = Omit<JsonRow<typeof WAIT_COLUMNS, WaitRow, OpenWaitProperty>, 'assignees'> & {
  readonly assignees: readonly string[] | undefined
}

export const toWaitJson = (wait: StepWait): WaitJson => ({
  flow_id: wait.flowId,
  path: wait.path,
  iteration: wait.iteration,
  thread_id: wait.threadId,
  kind: wait.kind,
  hash: wait.hash,
  since: wait.since,
  deadline: wait.deadline,
  on_timeout: wait.onTimeout,
  event: wait.event,
  correlation: wait.correlation,
  prompt: wait.prompt,
  show: wait.show,
  schema: wait.schema,
  assignees: wait.assignees,
})

const FIELDS = fieldsOf(WAIT_COLUMNS)
const PROPERTIES = FIELDS.map(({ property }) => property).filter((property) => property !== 'schema')

/** The columns of a `SelectedWait`, of a table that SQL calls `w`. */
export const WAIT_SELECTION = selectList(FIELDS, 'w')

/** A row of waits; its JSON has the form in which it was written. */
export type SelectedWait = Omit<WaitRow, 'schema' | 'decision'> & {
  readonly schema: StoredWait['schema'] | null
  readonly decision: StoredWait['decision'] | null
}

export const fromWaitRow = (row: SelectedWait): StoredWait => ({
  ...pickNonNull(row, PROPERTIES, {}),
  ...(row.schema !== null && { schema: row.schema }),
})
