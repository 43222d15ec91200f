import type { FlowCheck } from '../../orchestrator/inspect/check-flow.ts'
import { formatUsd } from '../amounts.ts'
import { defineCommand, jsonOption, maxCostOption, modelOption, setOption, simulateOption } from '../command.ts'
import { loadDefinition, type SourcedDefinition } from '../definition-source.ts'
import { toPlainLine } from '../plain-text.ts'
import { type CommandContext, LOCAL_USER, withServices } from '../services.ts'

interface CheckOptions {
  readonly model?: string
  readonly set?: readonly string[]
  readonly maxCost?: number
  readonly simulate?: boolean
}

/**
 * `polyphony check <template|file>`. Sharing that the user would have to allow is reported but is not an error, because
 * the database with the user's policies is not opened.
 */
export const checkCommand = defineCommand<CheckOptions>({
  name: 'check',
  description: 'validate a flow and estimate its cost without calling a model',
  configure: (command) =>
    command
      .argument('<template|file>')
      .addOption(modelOption())
      .addOption(setOption('set a parameter of a template'))
      .addOption(simulateOption())
      .addOption(maxCostOption('the run'))
      .addOption(jsonOption()),
  async run(context, options, name) {
    const { services, terminal, json } = context
    const flags = { database: 'memory://', ...(options.simulate && { simulator: true }) }
    const config = await services.loadConfig(flags)
    const source = { set: options.set, model: options.model, maxCostUsd: options.maxCost }
    const { definition, find } = await loadDefinition(name, source, await services.createParser(config))
    const checked = await withServices(context, flags, ({ orchestrator }) => orchestrator.checkFlow(definition, LOCAL_USER))
    if (json) terminal.printJson(checked)
    else await showCheck(context, definition.name, checked, find)
    const { isSharing, toError } = await import('../questions/sharing.ts')
    const stops = checked.problems.filter((problem) => !isSharing(problem))
    if (stops.length > 0) throw toError(stops, find)
  },
})

async function showCheck(
  { terminal }: CommandContext,
  name: string,
  checked: FlowCheck,
  find: SourcedDefinition['find'],
): Promise<void> {
  const { describeSharing, neededSharing, toFindingText } = await import('../questions/sharing.ts')
  const { calls, warnings } = checked
  terminal.print(
    `${terminal.style('bold', toPlainLine(name))}: ${calls.min === calls.max ? calls.min : `${calls.min} to ${calls.max}`} calls`,
  )
  terminal.print(`Estimated cost: ${costOf(checked)}`)
  const sharing = neededSharing(checked)
  if (sharing.length > 0) terminal.print('Sharing you must allow once (--allow-sharing):')
  for (const one of sharing) terminal.print(`  ${describeSharing(one)}`)
  for (const warning of warnings) terminal.print(`Warning: ${toPlainLine(toFindingText(warning, find))}`)
}

function costOf({ cost: { lowUsd, highUsd, unpriced } }: FlowCheck): string {
  const known = highUsd > 0 ? `${formatUsd(lowUsd)} to ${formatUsd(highUsd)}` : ''
  const unknown = unpriced.length > 0 ? `unknown for ${unpriced.join(', ')}` : ''
  return toPlainLine([known, unknown].filter(Boolean).join('; ')) || 'nothing'
}
