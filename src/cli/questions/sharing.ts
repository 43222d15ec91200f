import type { DefinitionText } from '../../domain/definition/file.ts'
import type { FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import { toSourceLocation } from '../../domain/definition/problems.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowFinding } from '../../orchestrator/inspect/flow-finding.ts'
import { toPlainLine } from '../plain-text.ts'
import type { CommandContext, OpenServices } from '../services.ts'

/** A text that a step requires and that its provider may not see yet. */
export interface NeededSharing {
  readonly stepId: string
  /** Step whose output it is. */
  readonly piece: string
  readonly from: string
  readonly to: string
}

export const isSharing = ({ code }: FlowFinding): boolean => code === 'DATA_SHARING_DENIED'

export const neededSharing = ({ problems }: { readonly problems: readonly FlowFinding[] }): readonly NeededSharing[] =>
  problems.filter(isSharing).map(({ details }) => ({
    stepId: String(details.stepId),
    piece: String(details.piece),
    from: String(details.from),
    to: String(details.to),
  }))

export const describeSharing = ({ stepId, piece, from, to }: NeededSharing): string =>
  toPlainLine(`${from} → ${to}: the output of "${piece}", for step "${stepId}"`)

export interface ConsentOptions {
  readonly userId: string
  /** Whether the command line contains the user's consent. */
  readonly allowSharing: boolean
  /** Where a path of the definition stands in its file. */
  readonly find?: DefinitionText['find']
}

/**
 * Checks for every problem that would stop the run, before any cost arises. Missing consent is given by the flag or by
 * the answer to one question, and stored for the user. Rejects with the first problem's code, DATA_SHARING_DENIED where
 * sharing is not allowed.
 */
export async function prepareRun(
  context: Pick<CommandContext, 'terminal' | 'json'>,
  { orchestrator, dataSharing }: Pick<OpenServices, 'orchestrator' | 'dataSharing'>,
  definition: FlowDefinitionInput,
  { userId, allowSharing, find }: ConsentOptions,
): Promise<void> {
  const problems = await orchestrator.preflight(definition, userId, { steps: 'all' })
  const stops = problems.filter((problem) => !isSharing(problem))
  if (stops.length > 0) throw toError(stops, find)
  const needed = neededSharing({ problems })
  if (needed.length === 0) return
  if (!allowSharing && !(await askConsent(context, needed))) throw denied(needed)
  for (const provider of new Set(needed.map(({ to }) => to))) {
    const known = await dataSharing.get(userId, provider)
    await dataSharing.set(userId, provider, {
      allowConversationHistory: known?.allowConversationHistory,
      allowAttachments: known?.allowAttachments,
      allowCrossProviderContext: true,
    })
  }
}

/** `flows/review.yaml:12:7: steps[2].model: …`, where the definition was read from a file. */
export function toFindingText({ path, message }: FlowFinding, find?: DefinitionText['find']): string {
  return `${toSourceLocation(find?.(path) ?? {})}${path ? `${path}: ${message}` : message}`
}

export function toError(problems: readonly FlowFinding[], find?: DefinitionText['find']): OrchestratorError {
  const lines = new Set(problems.map((problem) => toFindingText(problem, find)))
  return new OrchestratorError(problems[0]?.code ?? 'INTERNAL', [...lines].join('\n'), { details: { problems } })
}

async function askConsent(
  { terminal, json }: Pick<CommandContext, 'terminal' | 'json'>,
  needed: readonly NeededSharing[],
): Promise<boolean> {
  if (!terminal.canAsk || json) return false
  const { confirm } = await import('@clack/prompts')
  terminal.print('This flow sends text that one provider wrote to another:')
  for (const one of needed) terminal.print(`  ${describeSharing(one)}`)
  const answer = await confirm({ message: 'Allow it, for this and later runs?', initialValue: false })
  return answer === true
}

function denied(needed: readonly NeededSharing[]): OrchestratorError {
  const lines = needed.map((one) => `  ${describeSharing(one)}`)
  return new OrchestratorError(
    'DATA_SHARING_DENIED',
    `the flow sends text that one provider wrote to another, which you have not allowed:\n${lines.join('\n')}`,
    { details: { sharing: needed } },
  )
}
