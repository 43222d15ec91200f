import * as z from 'zod'
import { jsonField } from '../definition/json-field.ts'
import type { StepAction } from '../vocabulary.ts'

/** The keys of steps that call tools, and of steps with action `run`. */
export const toolShape = {
  /**
   * Tools that the model may call: `function/<name>`, `<provider>/<operation>`, `<provider>/*`, `caller/<name>` for one
   * of `callerTools`, or `hosted/<name>` for tools that the vendor runs itself. Default: none.
   */
  tools: z
    .array(z.string().regex(/^[^/\s]+\/\S+$/, 'expected "<provider>/<operation>", "<provider>/*" or "hosted/<name>"'))
    .max(128)
    .optional(),
  /** Maximum number of model calls of the step. Default 8. */
  maxTurns: z.number().int().min(1).max(100).optional(),
  /** `auto`, the default: the model decides; `required`: it must call a tool first; `none`; or the name of a tool. */
  toolChoice: z.string().min(1).optional(),
  /** Maximum tokens of one tool result; longer ones are cut with a note. Default 8,000. */
  maxResultTokens: z.number().int().min(1).optional(),
  /** Tools whose calls a user must approve; `true` for all tools of the step. Tools may need approval by themselves. */
  approveTools: z.union([z.boolean(), z.array(z.string().min(1)).max(128)]).optional(),
  /** Arguments of a step with action `run`: JSON whose strings are templates. */
  arguments: z.record(z.string(), jsonField).optional(),
  /** Refuses the call, before it costs anything, where a setting would otherwise be left out with a note. */
  strict: z.boolean().optional(),
}

/** The provider under which steps name the tools that the vendor of their model runs. */
export const HOSTED_PROVIDER = 'hosted'

/** Names of the hosted tools of a step, as vendors' adapters know them. */
export const hostedToolsOf = ({ tools = [] }: { readonly tools?: readonly string[] }): readonly string[] =>
  tools.filter((name) => !isOwnTool(name)).map((name) => name.slice(HOSTED_PROVIDER.length + 1))

/** Calls of hosted tools that a vendor may make in one turn while a limit of costs is set. */
export const MAX_HOSTED_CALLS = 5

/** Whether Polyphony runs a tool, and not the vendor of the model. */
export const isOwnTool = (name: string): boolean => !name.startsWith(`${HOSTED_PROVIDER}/`)

/** Model calls of a step with tools that sets no limit. */
export const DEFAULT_MAX_TURNS = 8

/** Whether a step calls a function, an HTTP operation or an MCP tool, and no model. */
export const isRunStep = ({ action }: { readonly action: StepAction }): boolean => action === 'run'
