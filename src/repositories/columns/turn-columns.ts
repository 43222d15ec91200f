import type { StepTurn as Turn } from '../../domain/tools/turns.ts'
import type { ColumnsOf, RowOf } from './column.ts'
import { STEP_KEY_COLUMNS } from './step-columns.ts'

/** A row of a step that calls tools. Its attempts are rows of the ledger. */
export type TurnRow = RowOf<Omit<Turn, 'attempts' | 'data'>> & { readonly flowId: string; readonly data: object }

export const TURN_COLUMNS = {
  ...STEP_KEY_COLUMNS,
  number: { name: 'number', type: 'integer', primary: true },
  data: { name: 'data', type: 'json' },
} as const satisfies ColumnsOf<TurnRow>
