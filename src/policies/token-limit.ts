import type { ContextItem, SharedContextRequest } from './policy.ts'

export interface FittedContext {
  /** The items that fit, in the order of the request. */
  readonly visible: readonly ContextItem[]
  /** Items that do not fit at all; never required ones. */
  readonly leftOut: ReadonlySet<ContextItem>
  readonly notes: readonly string[]
}

type CountTokens = SharedContextRequest['countTokens']

const NONE: ReadonlySet<ContextItem> = new Set()

/**
 * Fits history and step outputs into `maxTokens` together: the oldest history is left out first, then the oldest
 * outputs lose their beginning. Other kinds, and items marked `whole`, do not count. No tokenizer gives more tokens
 * than UTF-8 bytes, so texts that fit as bytes are not counted.
 */
export async function fitTokens(
  items: readonly ContextItem[],
  maxTokens: number,
  countTokens: CountTokens,
): Promise<FittedContext> {
  let bytesLeft = 0
  for (const item of items) if (isBounded(item)) bytesLeft += byteLength(item.text)
  if (bytesLeft <= maxTokens) return { visible: items, leftOut: NONE, notes: [] }

  const newestFirst = (kind: ContextItem['kind']) => items.filter((item) => item.kind === kind && isBounded(item)).reverse()
  const byWorth = [...newestFirst('step_output'), ...newestFirst('conversation_history')]
  const minimumShare = Math.floor(maxTokens / (8 * Math.max(1, byWorth.filter((item) => item.required).length)))
  const floorOf = (item: ContextItem) => (item.required ? Math.min(minimumShare, byteLength(item.text)) : 0)
  let reserved = byWorth.reduce((sum, item) => sum + floorOf(item), 0)
  let tokensLeft = maxTokens
  // After the first cut, less important items get nothing: only required items keep their minimum share.
  let isFull = false
  const shortened = new Map<ContextItem, string>()
  const leftOut = new Set<ContextItem>()
  const notes: string[] = []

  for (const item of byWorth) {
    if (!isFull && bytesLeft <= tokensLeft) break
    bytesLeft -= byteLength(item.text)
    reserved -= floorOf(item)
    if (isFull && !item.required) {
      leftOut.add(item)
      continue
    }
    const share = Math.max(0, tokensLeft - reserved)
    const tokens = await countTokens(item.text)
    if (tokens <= share) {
      tokensLeft -= tokens
      continue
    }
    isFull = true
    if (!item.required && (share === 0 || item.kind === 'conversation_history')) {
      leftOut.add(item)
      continue
    }
    const kept = await keepEnd(item.text, { tokens, maxTokens: share }, countTokens)
    tokensLeft = reserved
    shortened.set(item, kept.text)
    notes.push(
      `${item.kind} "${item.name}" lost its beginning: kept ${kept.tokens} of ${tokens} tokens (maxSharedTokens ${maxTokens}).`,
    )
  }

  if (leftOut.size > 0) notes.push(`${countByKind(leftOut)} left out (maxSharedTokens ${maxTokens}).`)
  const visible = items
    .filter((item) => !leftOut.has(item))
    .map((item) => {
      const text = shortened.get(item)
      return text === undefined ? item : { ...item, text }
    })
  return { visible, leftOut, notes }
}

const isBounded = ({ kind, whole }: ContextItem) => !whole && (kind === 'step_output' || kind === 'conversation_history')
const byteLength = (text: string) => Buffer.byteLength(text, 'utf8')

function countByKind(items: ReadonlySet<ContextItem>): string {
  const counts = new Map<string, number>()
  for (const { kind } of items) counts.set(kind, (counts.get(kind) ?? 0) + 1)
  return Array.from(counts, ([kind, count]) => `${count} oldest of ${kind}`).join(' and ')
}

const MAX_ESTIMATES = 4

/**
 * The longest end of the text that fits, found by a few estimates. If they find none, the text is cut to as many bytes
 * as tokens are allowed.
 */
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
