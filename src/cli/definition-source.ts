import { isDefinitionFile, readDefinitionFile } from '../config/automation/definition-file.ts'
import type { DefinitionText } from '../domain/definition/file.ts'
import type { FlowDefinitionInput } from '../domain/definition/flow-definition.ts'
import type { DefinitionParser } from '../domain/definition/parser.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

export interface SourceOptions {
  /** Values of `--set`, each `key=value`, in the order given. */
  readonly set?: readonly string[]
  /** `provider/model` of `--model`, for every step. */
  readonly model?: string
  readonly maxCostUsd?: number
}

export interface SourcedDefinition {
  readonly definition: FlowDefinitionInput
  /** Values of `--set` for a file, whose prompts read them as `{{ metadata.key }}`. */
  readonly metadata?: Readonly<Record<string, unknown>>
  /** Finds line and column of a path of the definition in its file; undefined for templates. */
  readonly find?: DefinitionText['find']
}

/**
 * Loads a definition by the name of a template or the path of a file. `set` fills the parameters of a template or the
 * metadata of a file. Rejects with TEMPLATE_NOT_FOUND, with INPUT_INVALID, or with FLOW_INVALID, which names file, line
 * and column of every problem.
 */
export async function loadDefinition(name: string, options: SourceOptions, parser: DefinitionParser): Promise<SourcedDefinition> {
  const settings = (options.set ?? []).map(parseSetting)
  if (!isDefinitionFile(name)) return { definition: withOptions(await fromTemplate(name, settings), options) }
  const { definition, find } = await readDefinitionFile(name, parser)
  const metadata = Object.fromEntries(settings.map(([key, value]) => [key, toScalar(value)]))
  return { definition: withOptions(definition, options), metadata, find }
}

function parseSetting(setting: string): readonly [string, string] {
  const separator = setting.indexOf('=')
  if (separator < 1) throw new OrchestratorError('INPUT_INVALID', `--set: expected key=value, found "${setting.slice(0, 60)}"`)
  return [setting.slice(0, separator), setting.slice(separator + 1)]
}

async function fromTemplate(name: string, settings: readonly (readonly [string, string])[]): Promise<FlowDefinitionInput> {
  const { getFlowTemplate, listFlowTemplates } = await import('../../templates/index.ts')
  const parameters = listFlowTemplates().find((template) => template.name === name)?.parameters ?? []
  const values = settings.map(([key, value]) => {
    const type = parameters.find((parameter) => parameter.name === key)?.type
    return [key, type === 'integer' || type === 'number' ? toScalar(value) : value] as const
  })
  return getFlowTemplate(name, Object.fromEntries(values))
}

/** A number or boolean if the text is one; otherwise the text itself. */
function toScalar(value: string): string | number | boolean {
  if (value === 'true' || value === 'false') return value === 'true'
  const number = Number(value)
  return value.trim() === '' || Number.isNaN(number) ? value : number
}

function withOptions(definition: FlowDefinitionInput, { model, maxCostUsd }: SourceOptions): FlowDefinitionInput {
  const limited = maxCostUsd === undefined ? definition : { ...definition, limits: { ...definition.limits, maxCostUsd } }
  if (model === undefined) return limited
  if (!/^[^/]+\/.+$/.test(model)) {
    throw new OrchestratorError('INPUT_INVALID', `--model: expected provider/model, found "${model.slice(0, 60)}"`)
  }
  const steps = limited.steps.map(({ provider, fallbacks, ...step }) => ({ ...step, model }))
  return { ...limited, steps }
}
