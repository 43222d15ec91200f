import type { Readable } from 'node:stream'

export interface BoundedBody {
  readonly bytes: Uint8Array
  /** Whether the body is longer than the limit. */
  readonly isCut: boolean
}

/** Reads a body up to a number of bytes and closes it. Rejects if it breaks off, and after an abort. */
export async function readBounded(body: Readable, maxBytes: number, signal: AbortSignal): Promise<BoundedBody> {
  const chunks: Buffer[] = []
  let length = 0
  for await (const chunk of body) {
    signal.throwIfAborted()
    const bytes = Buffer.from(chunk)
    length += bytes.length
    chunks.push(bytes)
    // Leaving the loop destroys the stream and so closes the connection.
    if (length > maxBytes) return { bytes: Buffer.concat(chunks).subarray(0, maxBytes), isCut: true }
  }
  return { bytes: Buffer.concat(chunks), isCut: false }
}
