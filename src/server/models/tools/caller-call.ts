import type { PausedStep } from '../../../domain/execution/flow-update.ts'

/** A call of a tool that the client runs. */
export interface CallerCall {
  readonly id: string
  readonly name: string
  /** JSON. */
  readonly arguments: string
}

type Wait = Pick<PausedStep, 'kind' | 'event' | 'correlation' | 'show'>

/** The calls of caller tools among what a flow waits for. */
export const callerCallsOf = (waits: readonly Wait[]): readonly CallerCall[] =>
  waits.flatMap(({ kind, event: name, correlation: id, show }) =>
    kind === 'caller' && name !== undefined && id !== undefined ? [{ id, name, arguments: compact(show ?? '{}') }] : [],
  )

const compact = (json: string): string => JSON.stringify(JSON.parse(json))
