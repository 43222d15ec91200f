const TEXT_TYPES = /^(text\/|application\/(json|xml|yaml|x-yaml|toml|javascript|sql|x-ndjson)$|.+\+(json|xml)$)/

/** Whether files of the media type hold text that a prompt can contain. */
export const isPlainText = (mediaType: string): boolean => TEXT_TYPES.test(mediaType) && mediaType !== 'image/svg+xml'

/** The text of UTF-8 bytes without a byte order mark; undefined for other bytes and for text with NUL. */
export function toText(data: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true }).decode(data)
    return text.includes('\0') ? undefined : text
  } catch {
    return undefined
  }
}
