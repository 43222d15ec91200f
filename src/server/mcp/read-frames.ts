import { type Readable, Transform, type Writable } from 'node:stream'

/** Maximum bytes of one message: a client that never ends its line must not exhaust the memory. */
const MAX_MESSAGE_BYTES = 16_777_216
const NEWLINE = 0x0a
const PARSE_ERROR = -32_700
const INVALID_REQUEST = -32_600

/**
 * The valid JSON-RPC messages of the input, one per line. An invalid line is answered on `output` with the error of
 * the protocol (JSON-RPC 2.0, 5.1), and reading continues. `warn` receives the error, which quotes nothing of the
 * line.
 */
export function readFrames(input: Readable, output: Writable, warn: (text: string) => void): Readable {
  let slices: Buffer[] = []
  let size = 0
  const refuse = (code: number, message: string, id: string | number | null = null) => {
    warn(`A message was refused: ${message}.`)
    output.write(`${JSON.stringify({ jsonrpc: '2.0', error: { code, message }, id })}\n`)
  }
  const take = (slice: Buffer) => {
    size += slice.length
    if (size <= MAX_MESSAGE_BYTES) slices.push(slice)
    else slices = []
  }
  const endLine = (frames: Transform) => {
    const bytes = Buffer.concat(slices)
    const isTooLong = size > MAX_MESSAGE_BYTES
    slices = []
    size = 0
    if (isTooLong) return refuse(INVALID_REQUEST, `expected a message of at most ${MAX_MESSAGE_BYTES} bytes`)
    const text = decode(bytes)?.trim()
    if (text === '') return
    const message = text === undefined ? undefined : parse(text)
    if (message === undefined) return refuse(PARSE_ERROR, 'expected one line of JSON in UTF-8')
    const problem = problemOf(message)
    if (problem === undefined) frames.push(`${text}\n`)
    else refuse(INVALID_REQUEST, problem, requestIdOf(message))
  }
  const frames = new Transform({
    transform(chunk: Buffer, _, done) {
      let from = 0
      for (let end = chunk.indexOf(NEWLINE); end !== -1; end = chunk.indexOf(NEWLINE, from)) {
        take(chunk.subarray(from, end))
        endLine(frames)
        from = end + 1
      }
      take(chunk.subarray(from))
      done()
    },
    flush(done) {
      if (size > 0) endLine(frames)
      done()
    },
  })
  return input.pipe(frames)
}

/** Removes a byte order mark. Undefined for bytes that are not UTF-8. */
function decode(bytes: Buffer): string | undefined {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    return undefined
  }
}

function parse(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    return undefined
  }
}

/**
 * Id for the error response to a request. Null without a method: the message may be a response, whose id is one of
 * ours.
 */
function requestIdOf(message: unknown): string | number | null {
  if (typeof message !== 'object' || message === null || !('id' in message) || !('method' in message)) return null
  const { id } = message
  return typeof id === 'string' || (typeof id === 'number' && Number.isInteger(id)) ? id : null
}

/** Why a value is not a request, notification or response; undefined when it is one. */
function problemOf(message: unknown): string | undefined {
  if (Array.isArray(message)) return 'expected one message per line, found a batch'
  if (typeof message !== 'object' || message === null) return 'expected an object'
  if (!('jsonrpc' in message) || message.jsonrpc !== '2.0') return 'expected "jsonrpc": "2.0"'
  if ('id' in message && typeof message.id !== 'string' && !Number.isInteger(message.id)) {
    return 'expected an id that is text or a whole number'
  }
  if ('method' in message) {
    if (typeof message.method !== 'string') return 'expected a method that is text'
    const isObject =
      !('params' in message) || (typeof message.params === 'object' && message.params !== null && !Array.isArray(message.params))
    return isObject ? undefined : 'expected params that are an object'
  }
  return 'id' in message && ('result' in message || 'error' in message) ? undefined : 'expected a method'
}
