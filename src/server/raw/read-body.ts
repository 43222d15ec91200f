import type { IncomingMessage } from 'node:http'
import { Readable } from 'node:stream'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'

/**
 * The body of a request again, when a body parser of the app around this server has read it before. Undefined when
 * the request was not read before. Throws CONFIG_INVALID when the body was read and not kept.
 */
export function replayBody(request: IncomingMessage): (Readable & { readonly receivedEncodedLength: number }) | undefined {
  if (!request.readableDidRead) return undefined
  const bytes = keptBytes(request)
  if (bytes === undefined) {
    throw new OrchestratorError(
      'CONFIG_INVALID',
      'The body of this request was read before it reached Polyphony, and `req.body` does not hold it: mount Polyphony before the middleware that reads it',
    )
  }
  // JSON that is written again has other blanks than the client sent, so the length it announced is taken as received.
  const receivedEncodedLength = Number(request.headers['content-length'] ?? bytes.length)
  return Object.assign(Readable.from(bytes.length === 0 ? [] : [bytes]), { receivedEncodedLength })
}

/** What body parsers keep: `rawBody` is exact, `body` holds bytes, text or the parsed value. */
function keptBytes(request: IncomingMessage): Buffer | undefined {
  if ('rawBody' in request && Buffer.isBuffer(request.rawBody)) return request.rawBody
  if (!('body' in request) || request.body === undefined) return undefined
  const { body } = request
  if (Buffer.isBuffer(body)) return body
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body))
}
