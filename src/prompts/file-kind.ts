import type { FilePart } from '../domain/execution/model-call.ts'

export type FileKind = 'image' | 'pdf' | 'audio' | 'video' | 'text' | 'other'

/** Media types outside `text/` whose bytes are UTF-8 text, and suffixes of such types. */
const TEXT_TYPES =
  /^(text\/|application\/(json|jsonl|x-ndjson|xml|yaml|x-yaml|toml|javascript|x-javascript|typescript|sql|x-sh|x-python|graphql|x-httpd-php)$)|\+(json|xml|yaml)$/

/** The kind of a file by its media type, on which its form in a request depends. */
export function kindOfFile({ mediaType }: Pick<FilePart, 'mediaType'>): FileKind {
  const type = mediaType.toLowerCase()
  if (type === 'application/pdf') return 'pdf'
  // An SVG is XML, which no vendor accepts as an image.
  if (type === 'image/svg+xml' || TEXT_TYPES.test(type)) return 'text'
  const [family] = type.split('/')
  return family === 'image' || family === 'audio' || family === 'video' ? family : 'other'
}
