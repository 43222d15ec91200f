import { EntitySchema } from 'typeorm'

export interface FlowDefinitionRow {
  readonly hash: string
  readonly json: string
  readonly version: string | null
  readonly isData: boolean
}

/** A definition, once per content. Never deleted: other processes remember which ones are stored. */
export const FlowDefinitionEntity = new EntitySchema<FlowDefinitionRow>({
  name: 'PolyphonyFlowDefinition',
  tableName: 'polyphony_flow_definitions',
  columns: {
    hash: { type: 'text', primary: true, primaryKeyConstraintName: 'polyphony_flow_definitions_pkey' },
    json: { type: 'text' },
    version: { type: 'text', nullable: true },
    isData: { type: 'boolean', name: 'is_data' },
  },
})
