import type { Duplex } from 'node:stream'
import type { Problem } from '../../protocol/problem.ts'
import { toErrorHeaders } from '../errors/error-headers.ts'

export interface LastAnswerOptions {
  /** Reason phrase of the status line; default: the title of the problem. */
  readonly reason?: string
  /** Whether the request was HEAD, so that the answer has no body (RFC 9110, section 9.3.2). */
  readonly headOnly?: boolean
}

/** Writes an error to a connection for which Fastify has no request, and closes the connection. */
export function sendLastAnswer(
  stream: Duplex,
  problem: Problem,
  { reason = problem.title, headOnly = false }: LastAnswerOptions = {},
): void {
  if (!stream.writable) {
    stream.destroy()
    return
  }
  const body = JSON.stringify(problem)
  stream.once('finish', () => stream.destroy())
  stream.end(
    [
      `HTTP/1.1 ${problem.status} ${reason}`,
      'content-type: application/problem+json',
      `content-length: ${Buffer.byteLength(body)}`,
      ...Object.entries(toErrorHeaders({ code: problem.code, details: problem.details ?? {} })).map(
        ([name, value]) => `${name}: ${value}`,
      ),
      'connection: close',
      '',
      headOnly ? '' : body,
    ].join('\r\n'),
  )
}
