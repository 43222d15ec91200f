import type { FastifyInstance, FastifyRequest } from 'fastify'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { JSON_TYPE } from '../errors/problem-details.ts'
import { replayBody } from '../raw/read-body.ts'
import { assertFewLevels } from '../requests/json-levels.ts'

/** Accepted charsets; ASCII is a subset of UTF-8. */
const CHARSETS: readonly string[] = ['utf-8', 'utf8', 'us-ascii', 'ascii']

/**
 * Accepts only JSON as a body, in UTF-8 and not compressed. Nothing else is parsed, because a page can send text/plain
 * to any address without a preflight. A missing body counts as an empty object. Requests fail with
 * MEDIA_TYPE_UNSUPPORTED or REQUEST_MALFORMED.
 */
export function readJsonBodies(app: FastifyInstance): void {
  app.removeAllContentTypeParsers()
  const parseJson = app.getDefaultJsonParser('error', 'error')
  app.addContentTypeParser<Buffer>(JSON_TYPE, { parseAs: 'buffer' }, (request, bytes, done) => {
    if (bytes.length === 0) return done(null, undefined)
    const text = decode(bytes)
    assertFewLevels(text)
    void parseJson(request, text, done)
  })
  app.addHook('preParsing', async (request) => {
    if (!hasBody(request)) return
    assertReadable(request)
    return replayBody(request.raw)
  })
  app.addHook('preValidation', async (request) => {
    // The JSON value null is a body too: it is validated and refused.
    if (request.routeOptions.schema?.body !== undefined && request.body === undefined) request.body = {}
  })
}

/** Whether the headers announce a body (RFC 9112, 6.3). */
export const hasBody = ({ headers }: Pick<FastifyRequest, 'headers'>): boolean =>
  headers['transfer-encoding'] !== undefined || Number(headers['content-length'] ?? 0) > 0

/** Throws MEDIA_TYPE_UNSUPPORTED for a compressed body and for other charsets than UTF-8. */
function assertReadable({ headers }: FastifyRequest): void {
  const coding = headers['content-encoding']?.trim().toLowerCase() ?? ''
  if (coding !== '' && coding !== 'identity') {
    throw new OrchestratorError(
      'MEDIA_TYPE_UNSUPPORTED',
      `Content-Encoding: expected a body that is not compressed, found "${coding.slice(0, 50)}"`,
      { details: { acceptEncoding: 'identity' } },
    )
  }
  const charset = /;\s*charset\s*=\s*"?([^\s";]*)/i.exec(headers['content-type'] ?? '')?.[1]?.toLowerCase()
  if (charset === undefined || CHARSETS.includes(charset)) return
  throw new OrchestratorError('MEDIA_TYPE_UNSUPPORTED', `Content-Type: expected charset=utf-8, found "${charset.slice(0, 50)}"`, {
    details: { accept: JSON_TYPE },
  })
}

/** Removes a byte order mark, which some editors write before JSON (RFC 8259, 8.1, allows parsers to ignore it). */
const utf8 = new TextDecoder('utf-8', { fatal: true })

function decode(bytes: Buffer): string {
  try {
    return utf8.decode(bytes)
  } catch {
    throw new OrchestratorError('REQUEST_MALFORMED', 'The body is not UTF-8: expected JSON in UTF-8')
  }
}
