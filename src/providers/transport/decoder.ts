import { pipeline, type Transform } from 'node:stream'
import { constants, createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from 'node:zlib'

/**
 * Flushes after every chunk, so that streams are readable as they arrive. A truncated body is no error here: its
 * content shows the truncation.
 */
const ZLIB = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH }
const BROTLI = { flush: constants.BROTLI_OPERATION_FLUSH, finishFlush: constants.BROTLI_OPERATION_FLUSH }
/** Limits the work that a hostile `content-encoding` can cause. */
const MAX_CODINGS = 5

export interface Decoder {
  /** Returns false if the next write should wait for `onDrain`. */
  write(chunk: Uint8Array): boolean
  end(): void
  destroy(): void
}

export interface DecoderEvents {
  readonly onChunk: (chunk: Uint8Array) => void
  readonly onDrain: () => void
  readonly onEnd: () => void
  readonly onError: (error: Error) => void
}

/**
 * Decodes `content-encoding`; `undefined` if the body is not encoded, or in a coding that was not requested, whose
 * bytes are passed on.
 */
export function createDecoder(contentEncoding: string | null, firstByte: number, events: DecoderEvents): Decoder | undefined {
  const codings = (contentEncoding ?? '')
    .toLowerCase()
    .split(',')
    .map((coding) => coding.trim())
    .filter((coding) => coding !== '' && coding !== 'identity')
  if (codings.length === 0 || codings.length > MAX_CODINGS) return undefined
  const transforms: Transform[] = []
  for (const coding of codings.reverse()) {
    const transform = createTransform(coding, firstByte)
    if (!transform) return undefined
    transforms.push(transform)
  }
  const [first] = transforms
  const last = transforms.at(-1)
  if (!first || !last) return undefined
  if (transforms.length > 1) pipeline(transforms, (error) => error && events.onError(error))
  first.on('drain', events.onDrain)
  last.on('data', events.onChunk).on('end', events.onEnd).on('error', events.onError)
  return { write: (chunk) => first.write(chunk), end: () => void first.end(), destroy: () => void first.destroy() }
}

function createTransform(coding: string, firstByte: number): Transform | undefined {
  if (coding === 'gzip' || coding === 'x-gzip') return createGunzip(ZLIB)
  // Servers send both forms of `deflate`; the low bits of a zlib header are always 8.
  if (coding === 'deflate') return (firstByte & 0x0f) === 0x08 ? createInflate(ZLIB) : createInflateRaw(ZLIB)
  return coding === 'br' ? createBrotliDecompress(BROTLI) : undefined
}
