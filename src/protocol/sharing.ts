import * as z from 'zod'
import { arrayOf, id } from './instant.ts'

const rules = {
  allowConversationHistory: z.boolean(),
  allowCrossProviderContext: z.boolean(),
  allowAttachments: z.boolean(),
}

/** Data-sharing policy of a user for one provider: the context that the provider may receive. */
export const sharingPolicy = z.object({ userId: z.string(), providerKey: z.string(), ...rules })
export const sharingPolicies = z.object({ items: arrayOf(sharingPolicy) })
/** Omitted rules are false. */
export const newSharingPolicy = z.strictObject(rules).partial()
export const sharingParams = z.object({ providerKey: id })
