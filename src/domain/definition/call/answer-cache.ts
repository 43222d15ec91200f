import * as z from 'zod'

/** Whether the answer of a step may be kept and served again instead of a call. */
export const answerCacheField = z.union([
  z.boolean(),
  z.strictObject({
    /** Milliseconds for which an answer is served again; default: `answerCache.ttlMs` of the configuration. */
    ttlMs: z.number().int().positive().optional(),
    /**
     * Where an equal request gets the answer: later steps of the `flow`, flows of the same `user`, or flows of all
     * users (`shared`). Default: `user`.
     */
    scope: z.enum(['flow', 'user', 'shared']).optional(),
  }),
])
export type AnswerCacheSettings = z.output<typeof answerCacheField>
