import type { Attempt } from '../../domain/execution/step-result.ts'
import { shortOutput, type ToolResult } from '../../domain/tools/turns.ts'
import type { StepWait } from '../../domain/waiting/wait.ts'
import type { PlannedCall } from './planned-call.ts'
import { storedWait } from './tool-approval.ts'
import type { ToolStep } from './tool-step.ts'

/** Reports a call to clients. A call that already waited for its approval was announced by an earlier execution. */
export function announceCall({ task, sample }: ToolStep, planned: PlannedCall, wait: StepWait | undefined): void {
  const { run, path, iteration } = task
  const { tool, turn, given } = planned
  const needsApproval = wait?.kind === 'tool'
  if (wait && run.pause && storedWait(run.pause, wait)) return
  run.log.emit(
    'tool_call',
    {
      turn,
      callId: planned.call.id,
      tool: tool?.id ?? planned.call.name,
      ...(given !== undefined && { arguments: given }),
      ...(needsApproval && { needsApproval: true }),
      ...(sample > 0 && { sample }),
    },
    path,
    iteration,
  )
}

/** What came of a call. `given` are the arguments as they were sent, where they are not those of the model. */
export type CallOutcome = Omit<ToolResult, 'kind' | 'turn' | 'index' | 'tool' | 'arguments'> & { readonly given?: unknown }

/** Records the result of a call with its attempts, and reports it to clients. */
export function addResult(
  { task, sample, record }: ToolStep,
  { turn, index, tool, call, given: planned }: PlannedCall,
  { given = planned, ...outcome }: CallOutcome,
  attempts: readonly Attempt[],
): void {
  const { run, path, iteration } = task
  const { content, isError, executionTime, cut, sharing, files = [], hiddenFiles = [] } = outcome
  const name = tool?.id ?? call.name
  record.addResult(
    { kind: 'result', turn, index, tool: name, ...(given !== undefined && { arguments: given }), ...outcome },
    attempts,
  )
  for (const decision of sharing) if (!decision.allowed) run.log.emit('context_withheld', decision, path, iteration)
  run.log.emit(
    'tool_result',
    {
      turn,
      callId: call.id,
      tool: name,
      output: shortOutput(content),
      isError,
      executionTime,
      ...(cut !== undefined && { cut }),
      ...(files.length + hiddenFiles.length > 0 && { files: [...files, ...hiddenFiles] }),
      ...(sample > 0 && { sample }),
    },
    path,
    iteration,
  )
}
