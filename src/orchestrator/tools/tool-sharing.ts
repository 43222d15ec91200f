import type { Target } from '../../domain/definition/flow-definition.ts'
import { SharingDeniedError } from '../../domain/execution/sharing-denied.ts'
import type { ModelTurn, RecordedTurn } from '../../domain/tools/turns.ts'
import { describeDenial, joinOrigins, toOrigin } from '../../domain/users/origins.ts'
import type { DataSharingPolicy, Origin, SharingDecision } from '../../domain/users/sharing.ts'
import type { DataSharingService, DecideSharing, SharingItem } from '../../policies/policy.ts'
import { repeatRead } from '../repeat-read.ts'
import type { StepTask } from '../steps/step-inputs.ts'
import type { StepTool } from './tool-set.ts'

export interface ToolSharingDeps {
  readonly decideSharing: DecideSharing
  readonly dataSharing: Pick<DataSharingService, 'get'>
}

/** The results of tools that a conversation has, as origins of what its model writes next. */
export const toolOrigins = (turns: readonly RecordedTurn[]): readonly Origin[] =>
  joinOrigins(
    turns.map(({ results }) =>
      [...results.values()].flatMap(({ provider, origins = [] }) =>
        provider ? [toOrigin('tool_result', provider), ...origins] : origins,
      ),
    ),
  )

/** What the next text of a model is made from: its prompt, the turns so far, and the results of tools. */
export function conversationOrigins(
  prompt: readonly Origin[],
  turns: readonly RecordedTurn[],
  writer: string,
): readonly Origin[] {
  const others = turns.flatMap(({ model }) => (model.provider === writer ? [] : toOrigin('step_output', model.provider)))
  return joinOrigins([prompt, ...turns.map(({ model }) => model.origins), others, toolOrigins(turns)])
}

/**
 * Decides whether the arguments that a model wrote may go to a tool, and whether the result of the tool may go to the
 * model. Both are decided before the call: a result that the model may not read would be an effect without a use.
 */
export async function decideToolSharing(
  deps: ToolSharingDeps,
  task: StepTask,
  tool: StepTool,
  { provider: writer, origins: madeFrom }: ModelTurn,
): Promise<readonly SharingDecision[]> {
  const { step, run } = task
  const { provenance } = run.definition.contextPolicy
  const [ofTool, ofModel] = await Promise.all([policyOf(deps, task, tool.provider), policyOf(deps, task, writer)])
  return [
    deps.decideSharing({ kind: 'step_output', name: step.id, from: writer, madeFrom }, tool.provider, ofTool, provenance),
    // The model has seen everything that its own arguments were made from.
    deps.decideSharing({ kind: 'tool_result', name: tool.id, from: tool.provider }, writer, ofModel, provenance),
  ]
}

/** Decides again about a result that turned out, during the call, to be made from more than the tool. */
export async function decideResultSharing(
  deps: ToolSharingDeps,
  task: StepTask,
  { id, provider }: StepTool,
  writer: string,
  madeFrom: readonly Origin[],
): Promise<SharingDecision> {
  const { provenance } = task.run.definition.contextPolicy
  const policy = await policyOf(deps, task, writer)
  return deps.decideSharing({ kind: 'tool_result', name: id, from: provider, madeFrom }, writer, policy, provenance)
}

/**
 * Decides whether a provider that takes over may see the turns so far: what other models wrote, and what tools
 * returned. Throws SharingDeniedError at the first item that it may not see.
 */
export async function shareTurns(
  deps: ToolSharingDeps,
  task: StepTask,
  { provider: to }: Target,
  turns: readonly RecordedTurn[],
): Promise<readonly SharingDecision[]> {
  if (turns.every(({ model }) => model.provider === to)) return []
  const { step, run } = task
  const { provenance } = run.definition.contextPolicy
  const policy = await policyOf(deps, task, to)
  const decisions = new Map<string, SharingDecision>()
  const decide = (item: SharingItem) => {
    // Calls of one tool may have results that are made from different things.
    const parts = item.kind === 'tool_result' ? (item.madeFrom ?? []).map(({ kind }) => kind) : []
    const key = [item.kind, item.name, item.from, ...parts].join('/')
    if (decisions.has(key)) return
    const decision = deps.decideSharing(item, to, policy, provenance)
    decisions.set(key, decision)
    if (decision.allowed) return
    const message = `Step "${step.id}" continues with ${item.kind} "${item.name}" of ${item.from}, ${describeDenial(decision)}.`
    throw new SharingDeniedError(message, step.id, decision)
  }
  for (const { model, results } of turns) {
    decide({
      kind: 'step_output',
      name: step.id,
      from: model.provider,
      ...(model.provider !== to && { madeFrom: model.origins }),
    })
    for (const { tool, provider, origins } of results.values()) {
      if (provider === undefined) continue
      decide({ kind: 'tool_result', name: tool, from: provider, ...(origins && { madeFrom: origins }) })
    }
  }
  return [...decisions.values()]
}

function policyOf(deps: ToolSharingDeps, task: StepTask, provider: string): Promise<DataSharingPolicy | undefined> {
  const { run, options } = task
  return repeatRead(() => deps.dataSharing.get(run.userId, provider), [run.cancellation, options.cancellation])
}

/** The answer to a call that sharing does not allow. */
export const deniedOutput = (decision: SharingDecision, tool: string): string => {
  const what = decision.kind === 'tool_result' ? 'its result' : 'its arguments'
  const message = `${tool} was not called: ${what}, ${describeDenial(decision)}.`
  return JSON.stringify({ error: { code: 'DATA_SHARING_DENIED', message } })
}

/** The answer to a call whose result the model may not see. */
export const withheldOutput = (denied: SharingDecision, tool: string): string => {
  const message = `${tool} was called; its result is withheld: ${describeDenial(denied)}.`
  return JSON.stringify({ error: { code: 'DATA_SHARING_DENIED', message } })
}
