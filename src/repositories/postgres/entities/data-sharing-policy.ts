import { EntitySchema } from 'typeorm'
import type { DataSharingPolicy } from '../../../domain/users/sharing.ts'
import { storableText } from '../storable.ts'

const primaryKeyConstraintName = 'polyphony_data_sharing_policies_pkey'

export const DataSharingPolicyEntity = new EntitySchema<DataSharingPolicy>({
  name: 'PolyphonyDataSharingPolicy',
  tableName: 'polyphony_data_sharing_policies',
  columns: {
    userId: { type: 'text', name: 'user_id', primary: true, primaryKeyConstraintName, transformer: storableText },
    providerKey: { type: 'text', name: 'provider_key', primary: true, primaryKeyConstraintName, transformer: storableText },
    allowConversationHistory: { type: 'boolean', name: 'allow_conversation_history' },
    allowCrossProviderContext: { type: 'boolean', name: 'allow_cross_provider_context' },
    allowAttachments: { type: 'boolean', name: 'allow_attachments' },
  },
})
