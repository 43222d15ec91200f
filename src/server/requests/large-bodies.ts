import { constants } from 'node:buffer'
import { type Readable, Transform } from 'node:stream'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { callerOf } from './routes.ts'

export interface LargeBodiesOptions {
  /** Largest body of every other request, in bytes; smaller ones are not counted. */
  readonly bodyLimitBytes: number
  /** Largest file, in bytes. */
  readonly maxFileBytes: number
}

/** Bodies with files, which may be larger than others, within a bound on all of them together. */
export interface LargeBodies {
  /** Largest body that is JSON with a file in base64, in bytes. */
  readonly jsonLimitBytes: number
  /**
   * Hook of a route, after authentication: counts the body of a request until its response has ended, by its announced
   * length, or as it arrives if it is sent in chunks. Rejects with RATE_LIMITED when the bodies that are held would
   * exceed the bound, or those of its user half of it; so does the body in chunks.
   */
  preParsing(request: FastifyRequest, reply: FastifyReply, payload: Readable): Promise<Readable>
}

/** So many of the largest bodies may be in memory at once. */
const LARGEST_AT_ONCE = 8
const RETRY_AFTER_MS = 1_000

export function createLargeBodies({ bodyLimitBytes, maxFileBytes }: LargeBodiesOptions): LargeBodies {
  // Base64 has four characters for three bytes. A longer body than the longest string cannot be parsed.
  const jsonLimitBytes = Math.min(bodyLimitBytes + Math.ceil((maxFileBytes * 4) / 3), constants.MAX_STRING_LENGTH)
  const maxHeldBytes = LARGEST_AT_ONCE * jsonLimitBytes
  let heldBytes = 0
  const heldOfUsers = new Map<string, number>()

  function add(userId: string, bytes: number): void {
    heldBytes += bytes
    const ofUser = (heldOfUsers.get(userId) ?? 0) + bytes
    if (ofUser === 0) heldOfUsers.delete(userId)
    else heldOfUsers.set(userId, ofUser)
  }

  /** Returns the function that sets the length of one body. */
  function hold(userId: string, { raw }: FastifyReply): (bytes: number) => void {
    let own = 0
    raw.once('close', () => add(userId, -own))
    return (bytes) => {
      // Above the limit of its route the body is refused before it is read further.
      if (bytes <= bodyLimitBytes || bytes > jsonLimitBytes) return
      const more = bytes - own
      const isTooMuchOfUser = (heldOfUsers.get(userId) ?? 0) + more > maxHeldBytes / 2
      if (isTooMuchOfUser || heldBytes + more > maxHeldBytes) throw tooManyBodies()
      add(userId, more)
      own = bytes
    }
  }

  return {
    jsonLimitBytes,
    async preParsing(request, reply, payload) {
      const { headers } = request
      const setLength = hold(callerOf(request).userId, reply)
      if (headers['transfer-encoding'] !== undefined) return counted(payload, setLength)
      setLength(Number(headers['content-length'] ?? 0))
      return payload
    },
  }
}

/** The same body. Calls `onLength` with its length so far; what that throws ends the body, and not the connection. */
function counted(body: Readable, onLength: (bytes: number) => void): Readable {
  let length = 0
  const through = new Transform({
    transform(chunk: Buffer, _encoding, done) {
      length += chunk.length
      try {
        onLength(length)
        done(null, chunk)
      } catch (error) {
        done(OrchestratorError.from(error))
      }
    },
  })
  body.once('error', (error) => through.destroy(error))
  return body.pipe(through)
}

const tooManyBodies = (): OrchestratorError =>
  new OrchestratorError('RATE_LIMITED', 'Too many requests with large bodies are being answered', {
    details: { retryAfterMs: RETRY_AFTER_MS },
  })
