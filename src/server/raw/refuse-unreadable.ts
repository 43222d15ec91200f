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

/** An error of Node's HTTP parser. */
interface ParserError {
  readonly code?: string
  /** The packet that was being parsed, as a Buffer; absent for a timeout. */
  readonly rawPacket?: unknown
}

/** Answers a request that Node's HTTP parser rejected, without echoing its input, and closes the connection. */
export function refuseUnreadable({ code: thrown = '', rawPacket }: ParserError, socket: Socket): void {
  const pending = findPendingAnswer(socket)
  // After the start of another response, the client would read a second one as part of its body.
  if (pending?.headersSent) return void socket.destroy()
  const { status, reason, code, message } = REFUSALS[thrown] ?? UNREADABLE
  // The client reads this answer as the response to its oldest open request.
  const headOnly = pending ? pending.req.method === 'HEAD' : beginsWithHead(rawPacket)
  sendLastAnswer(socket, { ...toProblem(new OrchestratorError(code, message)), status }, { reason, headOnly })
}

/** Node does not report the method of a request whose head it could not parse. */
const beginsWithHead = (packet: unknown): boolean => Buffer.isBuffer(packet) && packet.toString('latin1', 0, 5) === 'HEAD '
