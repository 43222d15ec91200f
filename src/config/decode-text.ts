import type { ErrorCode } from '../errors/error-codes.ts'
import { OrchestratorError } from '../errors/orchestrator-error.ts'

export interface DecodeOptions {
  /** Name of the source in errors: the name of a file, or `standard input`. */
  readonly name: string
  readonly code: ErrorCode
}

const REMEDY = 'save it as UTF-8'

/**
 * Decodes UTF-8 text, with or without a byte order mark. Throws an error with `code` that names the encoding found,
 * such as UTF-16, or the line of the first invalid byte.
 */
export function decodeText(bytes: Uint8Array, { name, code }: DecodeOptions): string {
  const utf16 = findUtf16(bytes)
  if (utf16) throw notUtf8(`${utf16}: ${REMEDY}`)
  try {
    // The decoder removes a byte order mark.
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch {
    throw notUtf8(`other bytes in line ${findBadLine(bytes)}, perhaps Latin-1 or Windows-1252: ${REMEDY}`)
  }

  function notUtf8(found: string): OrchestratorError {
    return new OrchestratorError(code, `${name}: expected UTF-8, found ${found}`, { details: { source: name } })
  }
}

/** Bytes that are examined if there is no byte order mark. */
const SAMPLE_BYTES = 1_000

function findUtf16(bytes: Uint8Array): string | undefined {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return 'UTF-16 (little endian)'
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return 'UTF-16 (big endian)'
  // In UTF-16 every other byte of mostly ASCII text is zero; UTF-8 text contains no zero byte.
  const zeros = [0, 0]
  const sample = bytes.subarray(0, SAMPLE_BYTES)
  for (const [index, byte] of sample.entries()) if (byte === 0) zeros[index % 2] = (zeros[index % 2] ?? 0) + 1
  const [even = 0, odd = 0] = zeros
  if (Math.max(even, odd) * 5 < sample.length * 2 || sample.length < 2) return undefined
  return odd > even ? 'UTF-16 (little endian) without a byte order mark' : 'UTF-16 (big endian) without a byte order mark'
}

/** Number of the first line that is not UTF-8, from 1. */
function findBadLine(bytes: Uint8Array): number {
  const decoder = new TextDecoder('utf-8')
  let line = 1
  let start = 0
  for (let end = bytes.indexOf(10); end >= 0; end = bytes.indexOf(10, start)) {
    if (decoder.decode(bytes.subarray(start, end)).includes('\ufffd')) return line
    line++
    start = end + 1
  }
  return line
}
