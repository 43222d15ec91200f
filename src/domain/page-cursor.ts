import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** The last row of a page of a sorted list. The next page begins after it, even if rows were added in the meantime. */
export interface PageCursor {
  /** Value of the sort column; null if the row has none. */
  readonly value: Date | string | null
  /** Breaks ties. */
  readonly id: string
}

/** A list in one order. A cursor is valid only for the order it was created for. */
export interface PageOrder {
  /** Identifies list, column and direction. */
  readonly name: string
  readonly by: 'instant' | 'text'
}

const SEPARATOR = '\0'
const LAST_INSTANT_MS = 8_640_000_000_000_000

/** Encodes a cursor for callers: opaque, safe in a URL, at most 1,000 characters for names and ids of 200. */
export function toCursorText(order: PageOrder, { value, id }: PageCursor): string {
  const shown = value instanceof Date ? String(value.getTime()) : value
  const fields = [order.name, id, ...(shown === null ? [] : [shown])]
  // UTF-16, because a name may contain half of a surrogate pair, which UTF-8 cannot encode.
  return Buffer.from(fields.join(SEPARATOR), 'utf16le').toString('base64url')
}

/**
 * Decodes a cursor. Throws INPUT_INVALID for text that `toCursorText` did not create, or that is for another order.
 * `isId`: whether a row can have that id.
 */
export function parseCursor(order: PageOrder, text: string, isId: (id: string) => boolean = (id) => id !== ''): PageCursor {
  const bytes = Buffer.from(text, 'base64url')
  const [name, id = '', ...rest] = bytes.toString('utf16le').split(SEPARATOR)
  const value = rest.length === 0 ? null : toValue(order, rest.join(SEPARATOR))
  const isOurs = bytes.toString('base64url') === text && bytes.length % 2 === 0 && isId(id) && value !== undefined
  if (!isOurs || name !== order.name) {
    throw new OrchestratorError('INPUT_INVALID', 'cursor: expected the cursor of the previous page, in the same order.')
  }
  return { value, id }
}

function toValue({ by }: PageOrder, text: string): Date | string | undefined {
  if (by === 'text') return text
  const ms = Number(text)
  return /^\d{1,16}$/.test(text) && ms <= LAST_INSTANT_MS ? new Date(ms) : undefined
}
