import * as z from 'zod'
import { stepSettingsSchema } from '../../domain/definition/flow-definition.ts'

/** Named settings to which steps refer with `agent`. A step's own values win. */
export const agentSchema = z.strictObject({
  /** Name for people. Default: the key of the agent. */
  name: z.string().min(1).max(200).optional(),
  /** System prompt, a Liquid template of at most 200,000 characters. */
  system: z.string().max(200_000).optional(),
  /** Id of a provider account; not needed if `model` is `provider/model`. */
  provider: z.string().min(1).optional(),
  /** Name of a model, or `provider/model`. */
  model: z.string().min(1).optional(),
  /** Sampling settings; a step overrides single ones. */
  settings: stepSettingsSchema.optional(),
  /** What the agent can do, for steps with `needs`. Default: nothing, and for a built-in role its own. */
  capabilities: z.array(z.string().min(1).max(100)).max(100).optional(),
  /** Share of the steps with `needs` that the agent gets where several fit; default 1. */
  weight: z.number().min(0).max(1_000_000).optional(),
})
export type AgentSettings = z.output<typeof agentSchema>
