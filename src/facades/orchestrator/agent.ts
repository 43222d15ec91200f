import * as z from 'zod'
import { parseSettings } from '../parse-settings.ts'

const agentSchema = z.strictObject({
  /** Id by which steps and statistics name the agent. */
  id: z.string().min(1).max(200),
  name: z.string().min(1).max(200),
  /** The system prompt of the agent's steps, a Liquid template. */
  instructions: z.string().max(200_000),
  /** `provider/model`, or the name of a model of the default provider. Default: the default model. */
  model: z.string().min(1).optional(),
  /** What steps may need of the agent; the type of a step counts as well. Default: none. */
  capabilities: z.array(z.string().min(1)).max(100).default([]),
  /** Share of the work under the strategy `weighted`; default 1. */
  weight: z.number().positive().max(1_000_000).default(1),
})

export type AgentOptions = z.input<typeof agentSchema>

/**
 * An agent of an `Orchestrator`: a model with instructions.
 *
 * ```ts
 * import { Agent } from 'polyphony'
 *
 * const coder = new Agent({ id: 'coder', name: 'Coder', instructions: 'You are a skilled software developer.' })
 * console.log(coder.weight)
 * ```
 */
export class Agent {
  readonly id: string
  readonly name: string
  readonly instructions: string
  readonly model: string | undefined
  readonly capabilities: readonly string[]
  readonly weight: number

  /** Throws CONFIG_INVALID. */
  constructor(options: AgentOptions) {
    const { id, name, instructions, model, capabilities, weight } = parseSettings(agentSchema, options, 'Agent')
    this.id = id
    this.name = name
    this.instructions = instructions
    this.model = model
    this.capabilities = capabilities
    this.weight = weight
  }
}
