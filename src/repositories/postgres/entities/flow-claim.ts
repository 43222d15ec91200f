import { EntitySchema } from 'typeorm'

export interface FlowClaimRow {
  readonly flowId: string
  readonly ownerId: string
}

/** Which flows are RUNNING, and whose: finds those of a dead owner among any number of finished ones. */
export const FlowClaimEntity = new EntitySchema<FlowClaimRow>({
  name: 'PolyphonyFlowClaim',
  tableName: 'polyphony_flow_claims',
  columns: {
    flowId: { type: 'uuid', name: 'flow_id', primary: true, primaryKeyConstraintName: 'polyphony_flow_claims_pkey' },
    ownerId: { type: 'text', name: 'owner_id' },
  },
})
