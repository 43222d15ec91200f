import { stripVTControlCharacters } from 'node:util'
import { withoutControls } from '../../domain/control-characters.ts'
import type { LogLine } from '../service.ts'

/** Longest line that is shown, in bytes. The file holds longer ones whole. */
export const LONGEST_LINE_BYTES = 64 * 1_024

export interface LineSplitter {
  push(bytes: Buffer): void
  /** Passes on a last line without a line feed. */
  end(): void
}

const LINE_FEED = 0x0a

/** Splits bytes into lines of valid text. Of a line that is too long only the beginning is held in memory. */
export function createLineSplitter(onLine: (line: LogLine) => void): LineSplitter {
  let chunks: Buffer[] = []
  let length = 0
  let isCut = false

  const keep = (bytes: Buffer) => {
    const kept = bytes.subarray(0, LONGEST_LINE_BYTES - length)
    // A copy, because the buffer of a socket is used again.
    if (kept.length > 0) chunks.push(Buffer.from(kept))
    length += kept.length
    isCut ||= kept.length < bytes.length
  }
  const pass = () => {
    const bytes = Buffer.concat(chunks)
    const wasCut = isCut
    chunks = []
    length = 0
    isCut = false
    onLine({ text: toLogText(bytes, wasCut), ...(wasCut && { cut: true }) })
  }

  return {
    push(bytes) {
      for (let from = 0; from < bytes.length; ) {
        const end = bytes.indexOf(LINE_FEED, from)
        keep(bytes.subarray(from, end < 0 ? bytes.length : end))
        if (end < 0) return
        pass()
        from = end + 1
      }
    },
    end() {
      if (length > 0) pass()
    },
  }
}

const decoder = new TextDecoder('utf-8', { ignoreBOM: true })

/** Valid text without sequences and characters that control a terminal; tabs stay. */
function toLogText(bytes: Buffer, isCut: boolean): string {
  const text = decoder.decode(bytes)
  // The cut may have split a character.
  const whole = isCut ? text.replace(/\ufffd+$/, '') : text
  return withoutControls(stripVTControlCharacters(whole))
}
