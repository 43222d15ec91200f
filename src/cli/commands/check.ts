import type { FlowCheck } from '../../orchestrator/inspect/check-flow.ts'
import { formatUsd } from '../amounts.ts'
import { loadDefinition, type SourcedDefinition } from '../definition-source.ts'
import { toPlainLine } from '../plain-text.ts'
import { type CommandContext, LOCAL_USER, withServices } from '../services.ts'
import { describeSharing, isSharing, neededSharing, toError, toFindingText } from '../sharing.ts'

export interface CheckOptions {
  readonly model?: string
  readonly set?: readonly string[]
  readonly maxCost?: number
  readonly simulate?: boolean
}

/** `polyphony check <template|file>`. Sharing that must be allowed is told and stops nothing: the database that holds the user's policies stays closed. */
export async function checkCommand(context: CommandContext, name: string, options: CheckOptions): Promise<void> {
  const { house, terminal, json } = context
  const flags = { database: 'memory://', ...(options.simulate && { simulator: true }) }
  const { agents } = await house.loadConfig(flags)
  const source = { set: options.set, model: options.model, maxCostUsd: options.maxCost }
  const { definition, find } = await loadDefinition(name, source, await house.createParser(agents))
  const check = await withServices(context, flags, ({ orchestrator }) => orchestrator.checkFlow(definition, LOCAL_USER))
  if (json) terminal.printJson(check)
  else show(context, definition.name, check, find)
  const stops = check.problems.filter((problem) => !isSharing(problem))
  if (stops.length > 0) throw toError(stops, find)
}

function show({ terminal }: CommandContext, name: string, check: FlowCheck, find: SourcedDefinition['find']): void {
  const { calls, warnings } = check
  terminal.print(
    `${terminal.style('bold', toPlainLine(name))}: ${calls.min === calls.max ? calls.min : `${calls.min} to ${calls.max}`} calls`,
  )
  terminal.print(`Estimated cost: ${costOf(check)}`)
  const sharing = neededSharing(check)
  if (sharing.length > 0) terminal.print('Sharing you must allow once (--allow-sharing):')
  for (const one of sharing) terminal.print(`  ${describeSharing(one)}`)
  for (const warning of warnings) terminal.print(`Warning: ${toPlainLine(toFindingText(warning, find))}`)
}

function costOf({ cost: { lowUsd, highUsd, unpriced } }: FlowCheck): string {
  const known = highUsd > 0 ? `${formatUsd(lowUsd)} to ${formatUsd(highUsd)}` : ''
  const unknown = unpriced.length > 0 ? `unknown for ${unpriced.join(', ')}` : ''
  return toPlainLine([known, unknown].filter(Boolean).join('; ')) || 'nothing'
}
