import { isTooDeep, MAX_JSON_LEVELS } from '../../domain/answers/json-levels.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/** Throws INPUT_INVALID for JSON with more nested levels than are read. */
export function assertFewLevels(json: string): void {
  if (isTooDeep(json)) throw new OrchestratorError('INPUT_INVALID', `expected JSON of at most ${MAX_JSON_LEVELS} levels`)
}
