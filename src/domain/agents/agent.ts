import type { StepSettings, Target } from '../definition/flow-definition.ts'

/** A named preset: defaults for the steps that refer to it. */
export interface AgentPreset {
  /** Id of a provider account; not needed if `model` is `provider/model`. */
  readonly provider?: string | undefined
  /** The name alone, or `provider/model`, split at the first slash. Default: the default model of the configuration. */
  readonly model?: string | undefined
  /** System prompt, a Liquid template of at most 200,000 characters. */
  readonly system?: string | undefined
  readonly settings?: StepSettings | undefined
  /** What the agent can do, for steps that name what they need in place of an agent. */
  readonly capabilities?: readonly string[] | undefined
  /** Share of the steps that this agent gets where several fit; default 1, 0 for none while another one fits. */
  readonly weight?: number | undefined
}

/** The agents that a definition may refer to. The map may change between two definitions. */
export interface AgentPresets {
  readonly byId: ReadonlyMap<string, AgentPreset>
  /** Provider and model of agents that name neither. Undefined: such a step must name them. */
  readonly defaultTarget?: Target | undefined
  /** What the operator can do where there is no default model. */
  readonly defaultTargetRemedy?: string | undefined
}

/** No agents. */
export const NO_AGENTS: AgentPresets = { byId: new Map() }

/** Every capability that an agent has, sorted. */
export const knownCapabilities = ({ byId }: AgentPresets): readonly string[] =>
  [...new Set([...byId.values()].flatMap(({ capabilities = [] }) => capabilities))].sort()

/** Whether an agent has all capabilities. */
export const hasCapabilities = ({ capabilities = [] }: AgentPreset, needs: readonly string[]): boolean =>
  needs.every((need) => capabilities.includes(need))

/**
 * The agent for a step that names what it needs: one of those that have all of it, by their weights. The same `key`
 * chooses the same agent in every process as long as the agents are the same. Undefined if no agent fits.
 */
export function chooseAgent({ byId }: AgentPresets, needs: readonly string[], key: string): string | undefined {
  const fitting = [...byId].filter(([, preset]) => hasCapabilities(preset, needs)).sort(([a], [b]) => (a < b ? -1 : 1))
  const total = fitting.reduce((sum, [, { weight = 1 }]) => sum + weight, 0)
  if (total === 0) return fitting[0]?.[0]
  let left = toFraction(key) * total
  for (const [id, { weight = 1 }] of fitting) {
    left -= weight
    if (left < 0) return id
  }
  return fitting.at(-1)?.[0]
}

/** A number from 0 up to 1 that depends on the text alone: FNV-1a of 32 bits, mixed as in MurmurHash3. */
function toFraction(text: string): number {
  let hash = 0x81_1c_9d_c5
  for (const letter of text) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 0x01_00_01_93)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85_eb_ca_6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2_b2_ae_35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}
