import type { StepTurn as Turn } from '../../../domain/tools/turns.ts'
import { fieldsOf } from '../../columns/column.ts'
import { TURN_COLUMNS, type TurnRow } from '../../columns/turn-columns.ts'
import { selectList } from '../column-sql.ts'
import type { JsonRow } from '../rows.ts'
import { type AttemptJson, toAttemptJson } from './step-result-rows.ts'

export interface TurnJson extends JsonRow<typeof TURN_COLUMNS, TurnRow, keyof typeof TURN_COLUMNS> {
  readonly attempts: readonly AttemptJson[]
}

export const toTurnJson = (flowId: string, turn: Turn): TurnJson => ({
  flow_id: flowId,
  path: turn.path,
  iteration: turn.iteration,
  sample: turn.sample,
  number: turn.number,
  data: turn.data,
  attempts: turn.attempts.map(toAttemptJson),
})

const SELECTED_FIELDS = fieldsOf(TURN_COLUMNS).filter(({ property }) => property !== 'flowId')

/** A row of `TURNS_SQL`; its JSON has the form in which it was written. */
export type SelectedTurn = Omit<Turn, 'attempts'>

/** `$1`: flow id. */
export const TURNS_SQL = `select ${selectList(SELECTED_FIELDS)} from polyphony_step_turns
where flow_id = $1 order by path, iteration, sample, number`

export const fromTurnRow = (row: SelectedTurn): Turn => ({ ...row, attempts: [] })
