import { type ForeignRecord, textOf } from '../vendor/foreign-json.ts'

/** A part with more than text, or the range of text within the answer, so that no text is kept twice. */
type KeptPart = { readonly part: ForeignRecord } | TextRange

interface TextRange {
  readonly isThought: boolean
  readonly from: number
  to: number
}

/**
 * Collects the parts of one answer, to be sent back with the results of its calls. A stream divides text into many
 * parts, which are joined again. Parts with a signature are kept as they are, because Google forbids joining them
 * (ai.google.dev/gemini-api/docs/thought-signatures, November 2026).
 */
export function createGoogleParts() {
  const kept: KeptPart[] = []

  return {
    /** Adds a part. `length` is the length of the text of its kind, thoughts or others, before it. */
    add(part: ForeignRecord, length: number) {
      const text = textOf(part.text)
      if (!isPlainText(part)) kept.push({ part })
      else if (text !== undefined) {
        const isThought = part.thought === true
        const last = kept.at(-1)
        if (last && 'from' in last && last.isThought === isThought) last.to = length + text.length
        else kept.push({ isThought, from: length, to: length + text.length })
      }
    },
    /** All parts, with the texts of the whole answer. */
    list: (text: string, reasoning: string): readonly ForeignRecord[] =>
      kept.map((entry) => {
        if ('part' in entry) return entry.part
        const { isThought, from, to } = entry
        return isThought ? { text: reasoning.slice(from, to), thought: true } : { text: text.slice(from, to) }
      }),
  }
}

function isPlainText(part: ForeignRecord): boolean {
  for (const field in part) if (field !== 'text' && field !== 'thought') return false
  return true
}
