const MARK = Buffer.from('\ufeff')
const DATA_ROW = 'D'.charCodeAt(0)
/** Bytes of the type and the length of a message of the Postgres protocol; the length includes its own bytes. */
const HEADER_BYTES = 5

interface Message {
  readonly name: string
}

/**
 * Restores the U+FEFF at the start of texts in a reply: the parser of PGlite decodes each text on its own and removes
 * the character as a byte order mark. `messages`: the parsed reply; `data`: its bytes.
 */
export function restoreMarks(messages: readonly Message[], data: Uint8Array): void {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  if (!bytes.includes(MARK)) return
  const rows = messages.filter(isDataRow).values()
  for (let start = 0; start + HEADER_BYTES <= bytes.length; start += 1 + bytes.readInt32BE(start + 1)) {
    if (bytes[start] === DATA_ROW) restoreRow(rows.next().value?.fields ?? [], bytes, start + HEADER_BYTES)
  }
}

const isDataRow = (message: Message): message is Message & { fields: (string | null)[] } =>
  message.name === 'dataRow' && 'fields' in message && Array.isArray(message.fields)

function restoreRow(fields: (string | null)[], bytes: Buffer, start: number): void {
  let offset = start + 2
  for (const [index, text] of fields.entries()) {
    const length = bytes.readInt32BE(offset)
    offset += 4
    if (length < 0) continue
    const isMarked = bytes.subarray(offset, offset + Math.min(length, MARK.length)).equals(MARK)
    if (isMarked && text !== null && Buffer.byteLength(text) < length) fields[index] = `\ufeff${text}`
    offset += length
  }
}
