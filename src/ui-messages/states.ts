import type { PausedStep } from '../domain/execution/flow-update.ts'
import type { StepResult } from '../domain/execution/step-result.ts'
import type { StepRunState, WaitState } from './ui-message.ts'

type ShownError = { readonly code: string; readonly message: string }

/** What is read of a result; in the process and as JSON it is the same. */
type EndedStep = Pick<
  StepResult,
  | 'stepId'
  | 'path'
  | 'iteration'
  | 'status'
  | 'provider'
  | 'model'
  | 'action'
  | 'output'
  | 'parsed'
  | 'usage'
  | 'cost'
  | 'executionTime'
> & { readonly error?: ShownError | undefined }

interface StateOptions {
  readonly withOutput: boolean
  readonly errorText: (error: ShownError) => string
}

/** The state of a step that has ended. Texts of errors are those for the user. */
export function toEndedStep(result: EndedStep, { withOutput, errorText }: StateOptions): StepRunState {
  const { stepId, path, iteration, status, provider, model, action, output, parsed, usage, cost, executionTime, error } = result
  return {
    stepId,
    path,
    iteration,
    status,
    provider,
    model,
    action,
    ...(withOutput && output !== undefined && { output }),
    ...(parsed !== undefined && { parsed }),
    ...(usage && { usage }),
    costUsd: cost ?? null,
    executionTime,
    ...(error && { error: { code: error.code, message: errorText(error) } }),
  }
}

/** What a paused flow waits for, without those who may answer. */
export const toWaits = (
  waits: readonly Pick<PausedStep, 'path' | 'iteration' | 'kind' | 'hash' | 'prompt' | 'show' | 'schema' | 'deadline'>[],
): readonly WaitState[] =>
  waits.map(({ path, iteration, kind, hash, prompt, show, schema, deadline }) => ({
    path,
    iteration,
    kind,
    hash,
    ...(prompt !== undefined && { prompt }),
    ...(show !== undefined && { show }),
    ...(schema && { schema }),
    ...(deadline !== undefined && { deadline }),
  }))

/** Messages of bugs may hold prompts or paths of the machine. */
export const toErrorText = ({ code, message }: ShownError): string =>
  code === 'INTERNAL' ? 'Internal error; the log of the server says more' : message
