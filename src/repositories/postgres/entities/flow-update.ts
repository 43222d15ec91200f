import { EntitySchema } from 'typeorm'

export interface FlowUpdateRow {
  readonly lastSeq: number
  readonly flowId: string
  readonly batch: unknown
}

const primaryKeyConstraintName = 'polyphony_flow_updates_pkey'

/** Updates of one flow that were written together. Keyed by their last number, so that "all after n" is one range of the index. */
export const FlowUpdateEntity = new EntitySchema<FlowUpdateRow>({
  name: 'PolyphonyFlowUpdate',
  tableName: 'polyphony_flow_updates',
  columns: {
    flowId: { type: 'uuid', name: 'flow_id', primary: true, primaryKeyConstraintName },
    lastSeq: { type: 'integer', name: 'last_seq', primary: true, primaryKeyConstraintName },
    batch: { type: 'json' },
  },
})
