import type { FilePart } from '../domain/execution/model-call.ts'
import { type FileKind, kindOfFile } from './file-kind.ts'

/**
 * Tokens of the kinds of files at one vendor. Images and pages cost by their size in pixels, and sound by its length.
 * Neither is known before the file is decoded, so images count as large ones, and the others by their bytes.
 */
interface FileRates {
  readonly image: number
  readonly perPage: number
  readonly perSecondOfSound: number
  readonly perSecondOfFilm: number
}

/**
 * Sources, November 2026. Anthropic (platform.claude.com/docs/en/build-with-claude/vision, …/pdf-support): an image
 * at most 4,784 tokens from Opus 4.7 on, 1,600 before; a page 1,500 to 3,000 for its text and an image of it. Google
 * (ai.google.dev/gemini-api/docs/media-resolution, …/tokens): an image 1,120 on Gemini 3 and 258 for each tile
 * before; a page 560; 32 a second of sound, 300 a second of film with sound. OpenAI
 * (developers.openai.com/api/docs/guides/images-vision, …/pdf-files): an image at most 2,500 in patches; a page its
 * text and an image of it; 10 a second of sound. For others the largest of these figures.
 */
const RATES: Readonly<Record<string, FileRates>> = {
  anthropic: { image: 4_784, perPage: 4_600, perSecondOfSound: 0, perSecondOfFilm: 0 },
  google: { image: 1_550, perPage: 560, perSecondOfSound: 32, perSecondOfFilm: 300 },
  openai: { image: 2_500, perPage: 3_500, perSecondOfSound: 10, perSecondOfFilm: 0 },
}
const OTHER_RATES: FileRates = { image: 4_784, perPage: 4_600, perSecondOfSound: 32, perSecondOfFilm: 300 }

/**
 * Few bytes for each unit, so that the estimate is rather too high. A page of text without pictures has about 30 kB.
 */
const BYTES_PER_PAGE = 30_000
const BYTES_PER_TEXT_TOKEN = 3
/** Speech at 24 kbit/s, uncompressed sound at 16 kHz and 16 bits, film at 400 kbit/s. */
const BYTES_PER_SECOND = { compressed: 3_000, wave: 32_000, film: 50_000 } as const

/**
 * Input tokens of a file for limits, estimated by vendor, media type and byte length, and rather too high. 0 for
 * files that the vendor's adapter leaves out.
 */
export function estimateFileTokens(vendor: string, file: Sized): number {
  const rates = Object.hasOwn(RATES, vendor) ? (RATES[vendor] ?? OTHER_RATES) : OTHER_RATES
  return Math.ceil(TOKENS_OF[kindOfFile(file)](file, rates))
}

type Sized = Pick<FilePart, 'mediaType' | 'byteLength'>

const ofText = ({ byteLength }: Sized): number => byteLength / BYTES_PER_TEXT_TOKEN

const TOKENS_OF: Readonly<Record<FileKind, (file: Sized, rates: FileRates) => number>> = {
  text: ofText,
  image: (_, { image }) => image,
  pdf: ({ byteLength }, { perPage }) => Math.max(1, Math.ceil(byteLength / BYTES_PER_PAGE)) * perPage,
  audio: ({ mediaType, byteLength }, { perSecondOfSound }) => {
    const isWave = /wav|pcm|l16|aiff/i.test(mediaType)
    return (byteLength / (isWave ? BYTES_PER_SECOND.wave : BYTES_PER_SECOND.compressed)) * perSecondOfSound
  },
  video: ({ byteLength }, { perSecondOfFilm }) => (byteLength / BYTES_PER_SECOND.film) * perSecondOfFilm,
  // Office documents, of which some vendors read the text.
  other: ofText,
}
