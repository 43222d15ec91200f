import { pipeline, type Transform } from 'node:stream'
import { constants, createBrotliDecompress, createGunzip, createInflate, createInflateRaw } from 'node:zlib'

/** A reader of streams must see each piece when it arrives, and a body that ends early is told from a whole one by its content. */
const ZLIB = { flush: constants.Z_SYNC_FLUSH, finishFlush: constants.Z_SYNC_FLUSH }
const BROTLI = { flush: constants.BROTLI_OPERATION_FLUSH, finishFlush: constants.BROTLI_OPERATION_FLUSH }
/** More codings in one answer are no honest answer. */
const MAX_CODINGS = 5

export interface Decoder {
  /** False: nothing more should be written until `onDrain` was called. */
  write(piece: Uint8Array): boolean
  end(): void
  destroy(): void
}

export interface DecoderEvents {
  readonly onPiece: (piece: Uint8Array) => void
  readonly onDrain: () => void
  readonly onEnd: () => void
  readonly onError: (error: Error) => void
}

/** Undoes `content-encoding`; `undefined` where there is nothing to undo, or a coding that was not asked for, whose bytes are passed on. */
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
  last.on('data', events.onPiece).on('end', events.onEnd).on('error', events.onError)
  return { write: (piece) => first.write(piece), end: () => void first.end(), destroy: () => void first.destroy() }
}

function createTransform(coding: string, firstByte: number): Transform | undefined {
  if (coding === 'gzip' || coding === 'x-gzip') return createGunzip(ZLIB)
  // Servers send both forms of `deflate`; the low bits of a zlib header are always 8.
  if (coding === 'deflate') return (firstByte & 0x0f) === 0x08 ? createInflate(ZLIB) : createInflateRaw(ZLIB)
  return coding === 'br' ? createBrotliDecompress(BROTLI) : undefined
}
