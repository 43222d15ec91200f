import * as z from 'zod'
import { arrayOf, id } from './instant.ts'

const rules = {
  allowConversationHistory: z.boolean(),
  allowCrossProviderContext: z.boolean(),
  allowAttachments: z.boolean(),
}

/** What the caller allows one provider to see. */
export const sharingPolicy = z.object({ userId: z.string(), providerKey: z.string(), ...rules })
export const sharingPolicies = z.object({ items: arrayOf(sharingPolicy) })
/** Rules that are not named are false. */
export const newSharingPolicy = z.strictObject(rules).partial()
export const sharingParams = z.object({ providerKey: id })
