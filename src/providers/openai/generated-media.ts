import type { GeneratedFile } from '../../domain/execution/model-call.ts'
import { type ForeignRecord, isRecord, listOf, recordOf, textOf } from '../vendor/foreign-json.ts'

/** First bytes of the formats in which models write images and sound. */
const SIGNATURES: readonly (readonly [mediaType: string, offset: number, bytes: string])[] = [
  ['image/png', 0, '\x89PNG'],
  ['image/jpeg', 0, '\xff\xd8\xff'],
  ['image/gif', 0, 'GIF8'],
  ['image/webp', 8, 'WEBP'],
  ['audio/wav', 8, 'WAVE'],
  ['audio/mpeg', 0, 'ID3'],
  ['audio/mpeg', 0, '\xff\xfb'],
  ['audio/mpeg', 0, '\xff\xf3'],
  ['audio/flac', 0, 'fLaC'],
  ['audio/ogg', 0, 'OggS'],
]

/** A file with the media type that its bytes show. `fallback`: the type of other bytes. */
export function toGeneratedFile(data: Uint8Array, fallback: string): GeneratedFile {
  const head = Buffer.from(data.subarray(0, 16)).toString('latin1')
  const found = SIGNATURES.find(([, offset, bytes]) => head.startsWith(bytes, offset))
  return { mediaType: found?.[0] ?? fallback, data }
}

/** The file of a data URL with base64. Undefined for other addresses: files elsewhere are not fetched. */
export function fromDataUrl(url: string | undefined): GeneratedFile | undefined {
  const [, mediaType, base64] = /^data:([\w.+-]+\/[\w.+-]+);base64,(.+)$/s.exec(url ?? '') ?? []
  return mediaType && base64 ? { mediaType, data: Buffer.from(base64, 'base64') } : undefined
}

/** Collects images and sound of one answer of Chat Completions. */
export interface MediaReader {
  /**
   * Reads the fields `images` and `audio` of a message or chunk, and returns those with what cannot be read. `isWhole`:
   * whether the message repeats what its chunks held.
   */
  readMessage(message: ForeignRecord, isWhole: boolean): readonly ('images' | 'audio')[]
  /** Reads a part of the content. Returns false if it holds no file. */
  readPart(part: ForeignRecord): boolean
  list(): readonly GeneratedFile[]
}

/**
 * Raw samples of OpenAI's streamed sound: 24 kHz, 16 bits, mono (developers.openai.com/api/docs/guides/audio,
 * 2026-11).
 */
const RAW_AUDIO = 'audio/L16;rate=24000;channels=1'

export function createMediaReader(): MediaReader {
  let images: Map<string, GeneratedFile> | undefined
  let sound: Buffer[] | undefined

  function readImage(found: unknown): boolean {
    const { image_url, b64_json, url } = recordOf(found)
    const address = textOf(isRecord(image_url) ? image_url.url : image_url) ?? textOf(url)
    const bare = textOf(b64_json)
    const file = fromDataUrl(address) ?? (bare ? toGeneratedFile(Buffer.from(bare, 'base64'), 'image/png') : undefined)
    if (!file) return false
    // Whole messages after a stream repeat its images.
    images = (images ?? new Map()).set(address ?? bare ?? '', file)
    return true
  }

  return {
    readMessage(message, isWhole) {
      const unread: ('images' | 'audio')[] = []
      const given = listOf(message.images)
      if (given.map(readImage).includes(false)) unread.push('images')
      const data = textOf(recordOf(message.audio).data)
      if (data && isWhole) sound = [Buffer.from(data, 'base64')]
      else if (data) sound = [...(sound ?? []), Buffer.from(data, 'base64')]
      return unread
    },
    readPart: (part) => (part.type === 'image_url' || part.type === 'output_image' || part.type === 'image') && readImage(part),
    list: () => [...(images?.values() ?? []), ...(sound ? [toGeneratedFile(Buffer.concat(sound), RAW_AUDIO)] : [])],
  }
}
