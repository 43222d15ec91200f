import type { DefinitionText } from '../../domain/definition/file.ts'
import type { FlowDefinitionInput } from '../../domain/definition/flow-definition.ts'
import { toSourceLocation } from '../../domain/definition/problems.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import type { FlowFinding } from '../../orchestrator/inspect/flow-finding.ts'
import { toPlainLine } from '../plain-text.ts'
import type { CommandContext, OpenServices } from '../services.ts'

const RULES = ['allowConversationHistory', 'allowCrossProviderContext', 'allowAttachments'] as const
type Rule = (typeof RULES)[number]

/** A text that a step requires and that its provider may not see yet. */
export interface NeededSharing {
  readonly stepId: string
  /** Step whose output it is, or `metadata`, or `attachments`. */
  readonly piece: string
  /** The provider that wrote it; absent for metadata and attachments, which the user gives. */
  readonly from?: string
  readonly to: string
  /** The rules of the user's policy that allow it. */
  readonly allow: readonly Rule[]
}

export const isSharing = ({ code }: FlowFinding): boolean => code === 'DATA_SHARING_DENIED'

export const neededSharing = ({ problems }: { readonly problems: readonly FlowFinding[] }): readonly NeededSharing[] =>
  problems.filter(isSharing).map(({ details }) => ({
    stepId: String(details.stepId),
    piece: String(details.piece),
    ...(details.from !== undefined && { from: String(details.from) }),
    to: String(details.to),
    allow: RULES.filter((rule) => Array.isArray(details.allow) && details.allow.includes(rule)),
  }))

export function describeSharing({ stepId, piece, from, to, allow }: NeededSharing): string {
  const further = allow.filter((rule) => rule !== 'allowCrossProviderContext').map((rule) => WITH_RULE[rule])
  if (from === undefined) return toPlainLine(`you → ${to}: ${piece}, for step "${stepId}"`)
  const made = further.length === 0 ? '' : `, made from ${further.join(' and ')}`
  return toPlainLine(`${from} → ${to}: the output of "${piece}"${made}, for step "${stepId}"`)
}

const WITH_RULE = {
  allowConversationHistory: 'the conversation or metadata',
  allowAttachments: 'attachments',
} as const

export interface ConsentOptions {
  readonly userId: string
  /** Whether the command line contains the user's consent. */
  readonly allowSharing: boolean
  /** Whether the run gets files. Default: false. */
  readonly files?: boolean
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
  { userId, allowSharing, files = false, find }: ConsentOptions,
): Promise<void> {
  const problems = await orchestrator.preflight(definition, userId, { steps: 'all', files })
  const stops = problems.filter((problem) => !isSharing(problem))
  if (stops.length > 0) throw toError(stops, find)
  const needed = neededSharing({ problems })
  if (needed.length === 0) return
  if (!allowSharing && !(await askConsent(context, needed))) throw denied(needed)
  await allowNeeded(dataSharing, userId, needed)
}

/** Adds the rules that are needed to the policies of the user. Rules that are already set stay. */
export async function allowNeeded(
  dataSharing: OpenServices['dataSharing'],
  userId: string,
  needed: readonly NeededSharing[],
): Promise<void> {
  for (const provider of new Set(needed.map(({ to }) => to))) {
    const known = await dataSharing.get(userId, provider)
    const given = new Set(needed.filter(({ to }) => to === provider).flatMap(({ allow }) => allow))
    const rules = RULES.map((rule) => [rule, known?.[rule] === true || given.has(rule)] as const)
    await dataSharing.set(userId, provider, Object.fromEntries(rules))
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
  terminal.print(`This flow sends ${whatIsSent(needed)}:`)
  for (const one of needed) terminal.print(`  ${describeSharing(one)}`)
  const answer = await confirm({ message: 'Allow it, for this and later runs?', initialValue: false })
  return answer === true
}

function whatIsSent(needed: readonly NeededSharing[]): string {
  const kinds = new Set(needed.map(({ from, piece }) => (from === undefined ? piece : 'output')))
  if (kinds.has('attachments')) return kinds.size === 1 ? 'files to providers' : 'files and text to providers'
  return kinds.has('metadata') ? 'text to providers' : 'text that one provider wrote to another'
}

function denied(needed: readonly NeededSharing[]): OrchestratorError {
  const lines = needed.map((one) => `  ${describeSharing(one)}`)
  return new OrchestratorError(
    'DATA_SHARING_DENIED',
    `the flow sends ${whatIsSent(needed)}, which you have not allowed:\n${lines.join('\n')}`,
    { details: { sharing: needed } },
  )
}
