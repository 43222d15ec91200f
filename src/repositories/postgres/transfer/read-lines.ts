import { TextDecoder } from 'node:util'
import { invalidLine } from './export-format.ts'

/** A longer line is no row of an export: Postgres gives no value of more than 1 GB, and answers are far shorter. */
const MAX_LINE_BYTES = 128 * 1024 * 1024
const LINE_FEED = 0x0a

export interface FileLine {
  /** From 1. */
  readonly number: number
  /** The line without its line end. */
  readonly text: string
  /** The line with its line end, for the checksum. */
  readonly bytes: Uint8Array
}

/**
 * Splits a file into lines. Memory is bounded by the longest line. Throws INPUT_INVALID for text that is not UTF-8, a
 * byte order mark, line ends of Windows and lines above `maxLineBytes`.
 */
export async function* readLines(
  chunks: AsyncIterable<Uint8Array>,
  maxLineBytes: number = MAX_LINE_BYTES,
): AsyncGenerator<FileLine> {
  const decoder = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true })
  let number = 0
  let parts: Uint8Array[] = []
  let length = 0
  const add = (part: Uint8Array) => {
    parts.push(part)
    length += part.length
    if (length > maxLineBytes) throw invalidLine(number + 1, `expected at most ${maxLineBytes} bytes, found more`)
  }
  const endLine = (): FileLine => {
    const bytes = parts.length === 1 ? (parts[0] ?? new Uint8Array()) : Buffer.concat(parts, length)
    parts = []
    length = 0
    number++
    return { number, text: decodeLine(decoder, bytes, number), bytes }
  }
  for await (const chunk of chunks) {
    let start = 0
    for (let end = chunk.indexOf(LINE_FEED); end >= 0; end = chunk.indexOf(LINE_FEED, start)) {
      add(chunk.subarray(start, end + 1))
      start = end + 1
      yield endLine()
    }
    if (start < chunk.length) add(chunk.subarray(start))
  }
  if (length > 0) yield endLine()
}

function decodeLine(decoder: TextDecoder, bytes: Uint8Array, number: number): string {
  const text = decode(decoder, bytes, number).replace(/\n$/, '')
  if (number === 1 && text.startsWith('\ufeff')) {
    throw invalidLine(1, 'expected no byte order mark, found one: another program has changed the file')
  }
  if (text.endsWith('\r')) {
    throw invalidLine(number, 'expected LF as the line end, found CR LF: another program has changed the file')
  }
  return text
}

function decode(decoder: TextDecoder, bytes: Uint8Array, number: number): string {
  try {
    return decoder.decode(bytes)
  } catch {
    throw invalidLine(number, 'expected UTF-8, found other bytes')
  }
}
