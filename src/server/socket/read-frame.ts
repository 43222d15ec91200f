import type { RawData } from 'ws'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type ClientFrame, clientFrame } from '../../protocol/socket.ts'
import { assertFewLevels } from '../requests/json-levels.ts'

/** No valid frame has more members. */
const MAX_MEMBERS = 20

/**
 * Parses one frame of a client. The problem of an invalid frame is INPUT_INVALID with the pointers of the invalid
 * values.
 */
export function readFrame(
  data: RawData,
  isBinary: boolean,
): { readonly frame: ClientFrame } | { readonly problem: OrchestratorError } {
  if (isBinary) return invalid('expected a text frame with a JSON object, found binary data')
  const text = String(data)
  let value: unknown
  try {
    assertFewLevels(text)
    value = JSON.parse(text)
  } catch (error) {
    return OrchestratorError.is(error) ? { problem: error } : invalid('expected a JSON object, found text that is not JSON')
  }
  // Listing ten thousand unknown members would take longer than reading them.
  if (typeof value === 'object' && value !== null && Object.keys(value).length > MAX_MEMBERS) {
    return invalid(`expected at most ${MAX_MEMBERS} members, found ${Object.keys(value).length}`)
  }
  const parsed = clientFrame.safeParse(value)
  if (parsed.success) return { frame: parsed.data }
  const problems = parsed.error.issues.map(({ path, message }) => ({
    pointer: ['#', ...path.map(String)].join('/'),
    detail: message,
  }))
  const [first] = problems
  return invalid(first ? `${first.pointer}: ${first.detail}` : 'expected a valid frame', problems)
}

const invalid = (message: string, problems?: readonly object[]) => ({
  problem: new OrchestratorError('INPUT_INVALID', message, problems && { details: { problems } }),
})
