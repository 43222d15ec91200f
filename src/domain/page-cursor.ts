import { OrchestratorError } from '../errors/orchestrator-error.ts'

/** Where a page of a sorted list ended: the next one begins after this row, whatever was added meanwhile. */
export interface PageCursor {
  /** What the list is sorted by; null where the row has none. */
  readonly value: Date | string | null
  /** Breaks ties. */
  readonly id: string
}

/** A list in one order. A cursor is good for the order it was made for and no other. */
export interface PageOrder {
  /** Names list, column and direction. */
  readonly name: string
  readonly by: 'instant' | 'text'
}

const SEPARATOR = '\0'
const LAST_INSTANT_MS = 8_640_000_000_000_000

/** A cursor as callers get it: opaque, safe in an address, at most 1,000 characters for names and ids of 200. */
export function toCursorText(order: PageOrder, { value, id }: PageCursor): string {
  const shown = value instanceof Date ? String(value.getTime()) : value
  const deps = [order.name, id, ...(shown === null ? [] : [shown])]
  // UTF-16 because a name may hold half a pair, which UTF-8 has no bytes for.
  return Buffer.from(deps.join(SEPARATOR), 'utf16le').toString('base64url')
}

/** Throws INPUT_INVALID for text that is no cursor of ours, or one of another order. `isId`: whether a row can have that id. */
export function parseCursor(order: PageOrder, text: string, isId: (id: string) => boolean = (id) => id !== ''): PageCursor {
  const bytes = Buffer.from(text, 'base64url')
  const [name, id = '', ...rest] = bytes.toString('utf16le').split(SEPARATOR)
  const value = rest.length === 0 ? null : toValue(order, rest.join(SEPARATOR))
  const isOurs = bytes.toString('base64url') === text && bytes.length % 2 === 0 && isId(id) && value !== undefined
  if (!isOurs || name !== order.name) {
    throw new OrchestratorError('INPUT_INVALID', 'cursor: expected the cursor that came with the page before, in the same order.')
  }
  return { value, id }
}

function toValue({ by }: PageOrder, text: string): Date | string | undefined {
  if (by === 'text') return text
  const ms = Number(text)
  return /^\d{1,16}$/.test(text) && ms <= LAST_INSTANT_MS ? new Date(ms) : undefined
}
