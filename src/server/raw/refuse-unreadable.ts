import type { Socket } from 'node:net'
import type { ErrorCode } from '../../errors/error-codes.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { toProblem } from '../errors/problem-details.ts'
import { sendLastAnswer } from './last-answer.ts'
import { findPendingAnswer } from './pending-answer.ts'

interface Refusal {
  readonly status: number
  readonly reason: string
  readonly code: ErrorCode
  readonly message: string
}

const UNREADABLE: Refusal = {
  status: 400,
  reason: 'Bad Request',
  code: 'REQUEST_MALFORMED',
  message: 'expected a request of HTTP/1.1, found something else',
}
/** Error codes of Node's HTTP parser whose status is not 400. */
const REFUSALS: Readonly<Record<string, Refusal>> = {
  HPE_HEADER_OVERFLOW: {
    status: 431,
    reason: 'Request Header Fields Too Large',
    code: 'REQUEST_TOO_LARGE',
    message: 'expected shorter headers',
  },
  ERR_HTTP_REQUEST_TIMEOUT: {
    status: 408,
    reason: 'Request Timeout',
    code: 'REQUEST_MALFORMED',
    message: 'expected the whole request within the time limit of the server',
  },
}

/** Answers a request that Node's HTTP parser rejected, without echoing its input, and closes the connection. */
export function refuseUnreadable({ code: thrown = '' }: { readonly code?: string }, socket: Socket): void {
  // After the start of another response, the client would read a second one as part of its body.
  if (findPendingAnswer(socket)?.headersSent) return void socket.destroy()
  const { status, reason, code, message } = REFUSALS[thrown] ?? UNREADABLE
  sendLastAnswer(socket, { ...toProblem(new OrchestratorError(code, message)), status }, reason)
}
