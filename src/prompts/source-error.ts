import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** A position in the text of a template or condition; line and column from 1. */
export interface SourcePosition {
  readonly line: number
  readonly column: number
}

/** FLOW_INVALID for the text of a template or condition; `details` hold the position. */
export const sourceError = (message: string, position?: SourcePosition): OrchestratorError =>
  new OrchestratorError('FLOW_INVALID', message + inWords(position), { details: { ...position } })

export const inWords = (position: SourcePosition | undefined): string =>
  position ? ` (line ${position.line}, column ${position.column})` : ''

export function positionAt(source: string, offset: number): SourcePosition {
  const before = source.slice(0, offset)
  const lineStart = before.lastIndexOf('\n') + 1
  return { line: before.split('\n').length, column: before.length - lineStart + 1 }
}
