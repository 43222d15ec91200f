import type { RawData } from 'ws'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { type ClientFrame, clientFrame } from '../../protocol/socket.ts'
import { assertFewLevels } from '../requests/json-levels.ts'

/** More than any frame has. */
const MOST_MEMBERS = 20

/** What a client sent, or what is wrong with it, with the place. */
export function readFrame(
  data: RawData,
  isBinary: boolean,
): { readonly frame: ClientFrame } | { readonly problem: OrchestratorError } {
  if (isBinary) return misfit('expected a text frame with a JSON object, found bytes')
  const text = String(data)
  let value: unknown
  try {
    assertFewLevels(text)
    value = JSON.parse(text)
  } catch (error) {
    return OrchestratorError.is(error) ? { problem: error } : misfit('expected a JSON object, found text that is none')
  }
  // Naming each of ten thousand members that are wrong takes longer than reading them.
  if (typeof value === 'object' && value !== null && Object.keys(value).length > MOST_MEMBERS) {
    return misfit(`expected at most ${MOST_MEMBERS} members, found ${Object.keys(value).length}`)
  }
  const parsed = clientFrame.safeParse(value)
  if (parsed.success) return { frame: parsed.data }
  const problems = parsed.error.issues.map(({ path, message }) => ({
    pointer: ['#', ...path.map(String)].join('/'),
    detail: message,
  }))
  const [first] = problems
  return misfit(first ? `${first.pointer}: ${first.detail}` : 'the frame is not valid', problems)
}

const misfit = (message: string, problems?: readonly object[]) => ({
  problem: new OrchestratorError('INPUT_INVALID', message, problems && { details: { problems } }),
})
