import type { ContextItem, SharedContextRequest } from './policy.ts'

export interface FittedContext {
  /** Same order as the pieces that went in. */
  readonly visible: readonly ContextItem[]
  /** Pieces for which there was no room at all; never required ones. */
  readonly leftOut: ReadonlySet<ContextItem>
  readonly notes: readonly string[]
}

type CountTokens = SharedContextRequest['countTokens']

const NONE: ReadonlySet<ContextItem> = new Set()

/**
 * Makes history and step outputs fit into `maxTokens` together: the oldest history goes first, then the oldest outputs lose their beginning.
 * Other kinds, and pieces that stay whole, do not count. No tokenizer gives more tokens than UTF-8 bytes, so texts that fit as bytes are not counted.
 */
export async function fitTokens(
  pieces: readonly ContextItem[],
  maxTokens: number,
  countTokens: CountTokens,
): Promise<FittedContext> {
  let bytesLeft = 0
  for (const piece of pieces) if (isBounded(piece)) bytesLeft += byteLength(piece.text)
  if (bytesLeft <= maxTokens) return { visible: pieces, leftOut: NONE, notes: [] }

  const newestFirst = (kind: ContextItem['kind']) => pieces.filter((piece) => piece.kind === kind && isBounded(piece)).reverse()
  const byWorth = [...newestFirst('step_output'), ...newestFirst('conversation_history')]
  const floor = Math.floor(maxTokens / (8 * Math.max(1, byWorth.filter((piece) => piece.required).length)))
  const floorOf = (piece: ContextItem) => (piece.required ? Math.min(floor, byteLength(piece.text)) : 0)
  let reserved = byWorth.reduce((sum, piece) => sum + floorOf(piece), 0)
  let room = maxTokens
  // Once something had to be cut, what is worth less gets no room of its own: only required pieces keep their floor.
  let isFull = false
  const shortened = new Map<ContextItem, string>()
  const leftOut = new Set<ContextItem>()
  const notes: string[] = []

  for (const piece of byWorth) {
    if (!isFull && bytesLeft <= room) break
    bytesLeft -= byteLength(piece.text)
    reserved -= floorOf(piece)
    if (isFull && !piece.required) {
      leftOut.add(piece)
      continue
    }
    const share = Math.max(0, room - reserved)
    const tokens = await countTokens(piece.text)
    if (tokens <= share) {
      room -= tokens
      continue
    }
    isFull = true
    if (!piece.required && (share === 0 || piece.kind === 'conversation_history')) {
      leftOut.add(piece)
      continue
    }
    const kept = await keepEnd(piece.text, { tokens, maxTokens: share }, countTokens)
    room = reserved
    shortened.set(piece, kept.text)
    notes.push(
      `${piece.kind} "${piece.name}" lost its beginning: kept ${kept.tokens} of ${tokens} tokens (maxSharedTokens ${maxTokens}).`,
    )
  }

  if (leftOut.size > 0) notes.push(`${countByKind(leftOut)} left out (maxSharedTokens ${maxTokens}).`)
  const visible = pieces
    .filter((piece) => !leftOut.has(piece))
    .map((piece) => {
      const text = shortened.get(piece)
      return text === undefined ? piece : { ...piece, text }
    })
  return { visible, leftOut, notes }
}

const isBounded = ({ kind, whole }: ContextItem) => !whole && (kind === 'step_output' || kind === 'conversation_history')
const byteLength = (text: string) => Buffer.byteLength(text, 'utf8')

function countByKind(pieces: ReadonlySet<ContextItem>): string {
  const counts = new Map<string, number>()
  for (const { kind } of pieces) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return Array.from(counts, ([kind, count]) => `${count} oldest of ${kind}`).join(' and ')
}

const MAX_ESTIMATES = 4

/** The longest end of the text that a few estimates find; what they do not settle is cut to as many bytes as tokens are allowed. */
async function keepEnd(
  text: string,
  { tokens, maxTokens }: { readonly tokens: number; readonly maxTokens: number },
  countTokens: CountTokens,
): Promise<{ readonly text: string; readonly tokens: number }> {
  let best = endOfBytes(text, maxTokens)
  let length = text.length
  let counted = tokens
  for (let estimate = 0; estimate < MAX_ESTIMATES && maxTokens > 0; estimate++) {
    length = Math.min(text.length - 1, Math.floor((length * maxTokens * 0.97) / Math.max(1, counted)))
    if (length <= best.text.length) break
    const end = endOfLength(text, length)
    counted = await countTokens(end)
    if (!(counted <= maxTokens)) continue
    best = { text: end, tokens: counted }
    if (counted >= maxTokens * 0.9) break
  }
  return best
}

function endOfBytes(text: string, maxBytes: number): { readonly text: string; readonly tokens: number } {
  let end = endOfLength(text, maxBytes)
  while (byteLength(end) > maxBytes) end = endOfLength(end, end.length - Math.ceil((byteLength(end) - maxBytes) / 3))
  return { text: end, tokens: byteLength(end) }
}

/** At most `length` UTF-16 units from the end, never half of a surrogate pair. */
function endOfLength(text: string, length: number): string {
  if (length <= 0) return ''
  const end = text.slice(-length)
  return /^[\udc00-\udfff]/.test(end) && end.length < text.length ? end.slice(1) : end
}
