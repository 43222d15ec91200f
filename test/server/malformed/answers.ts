import * as z from 'zod'
import { problem } from '../../../src/protocol/problem.ts'

/** An answer as far as its form matters. */
export interface SeenAnswer {
  readonly status: number
  readonly contentType: string
  readonly body: string
}

/** Lines of stacks, paths of files, and words of programs that met what they did not expect. */
const INTERNALS: readonly RegExp[] = [
  /\bat (?:async )?[\w.<>[\] ]+ \(?[^ )]*:\d+:\d+\)?/,
  /node_modules|node:internal|file:\/\/\/(?!etc\/passwd)|\/work\/|\/home\/|\/tmp\/|\bsrc\/[\w/-]+\.[jt]s\b/,
  /\.[cm]?[jt]s:\d+/,
  /Cannot read propert|is not a function|is not iterable|is not defined|Maximum call stack|Invalid array length|circular structure/,
  /(?:Type|Range|Syntax|Reference|Internal)Error\b/,
  /\b(?:ECONN\w+|EPIPE|ENOENT|EACCES|ERR_\w+|FST_\w+|HPE_\w+)\b/,
  /\brelation "|syntax error at|invalid input syntax|violates \w+ constraint|\bSQLSTATE\b|\bselect \* from polyphony/i,
]

const openAiError = z.strictObject({
  error: z.strictObject({ message: z.string().min(1), type: z.string(), param: z.string().nullable(), code: z.string() }),
})

/** Protocols that tell errors in a way of their own. */
const FOREIGN_FORMS: readonly ((contentType: string, body: string) => boolean)[] = [
  (contentType, body) => contentType.startsWith('application/json') && body.startsWith('{"jsonrpc":"2.0","error":{"code":-'),
  (contentType, body) => contentType.startsWith('application/json') && openAiError.safeParse(toJson(body)).success,
]

/** What stands in files that nobody asked for. */
const FILES = /root:x:0|"name": "(?:polyphony|@?fastify)/

/** What is wrong with an answer to something that should never have been sent; `undefined` where nothing is. */
export function findFault({ status, contentType, body }: SeenAnswer, sent: string): string | undefined {
  if (status < 100 || status >= 500) return `status ${status}`
  // What was sent may come back within a message.
  const shown = INTERNALS.flatMap((pattern) => pattern.exec(body) ?? []).filter((found) => found !== '' && !sent.includes(found))
  if (shown.length > 0 && status >= 400) return `shows ${shown[0]}`
  if (FILES.test(body)) return 'shows a file'
  if (status < 400) return undefined
  if (FOREIGN_FORMS.some((form) => form(contentType, body))) return undefined
  if (!contentType.startsWith('application/problem+json')) return `${status} is told as "${contentType}"`
  const told = problem.safeParse(toJson(body))
  if (!told.success) return `no problem document: ${told.error.issues[0]?.message}`
  if (told.data.status !== status) return `status ${told.data.status} in an answer of ${status}`
  return told.data.code === 'INTERNAL' ? 'is told as a bug' : undefined
}

function toJson(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}
