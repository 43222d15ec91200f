import type { Pool } from 'pg'
import type { DataSource } from 'typeorm'
import { toStorableText } from '../../../domain/storable-text.ts'
import type { DataSharingPolicy } from '../../../domain/users/sharing.ts'
import type { DataSharingRepository } from '../../repository.ts'
import { createBatchedRead } from '../batched-read.ts'
import { guarded } from '../database-errors.ts'
import { DataSharingPolicyEntity } from '../entities.ts'

type PolicyKey = Pick<DataSharingPolicy, 'userId' | 'providerKey'>

const POLICIES_SQL = `select user_id as "userId", provider_key as "providerKey", allow_conversation_history as "allowConversationHistory",
  allow_cross_provider_context as "allowCrossProviderContext", allow_attachments as "allowAttachments"
from polyphony_data_sharing_policies
where (user_id, provider_key) in (select "userId", "providerKey" from json_to_recordset($1::json) as k("userId" text, "providerKey" text))`

export function createDataSharingRepository(dataSource: DataSource, pool: Pool): DataSharingRepository {
  const policies = dataSource.getRepository(DataSharingPolicyEntity)

  const findPolicy = createBatchedRead<PolicyKey, DataSharingPolicy | undefined>(async (keys) => {
    const { rows } = await pool.query<DataSharingPolicy>({
      name: 'polyphony_policies',
      text: POLICIES_SQL,
      values: [JSON.stringify(keys)],
    })
    const found = new Map(rows.map((row) => [nameOf(row), row]))
    return (key) => found.get(nameOf(key))
  })

  return {
    find: guarded((userId: string, providerKey: string) =>
      findPolicy({ userId: toStorableText(userId), providerKey: toStorableText(providerKey) }),
    ),

    list: guarded((userId: string) => policies.find({ where: { userId }, order: { providerKey: 'ASC' } })),

    set: guarded(async (policy: DataSharingPolicy) => {
      await policies.upsert(policy, ['userId', 'providerKey'])
    }),

    remove: guarded(async (userId: string, providerKey: string) => {
      await policies.delete({ userId, providerKey })
    }),
  }
}

const nameOf = (key: PolicyKey): string => JSON.stringify([key.userId, key.providerKey])
