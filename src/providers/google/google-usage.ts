import { UNKNOWN_USAGE, type Usage } from '../../domain/execution/usage.ts'
import { countOf, type ForeignRecord } from '../vendor/foreign-json.ts'

interface Counts {
  readonly prompt?: number
  readonly toolPrompt?: number
  readonly cached?: number
  readonly candidates?: number
  readonly thoughts?: number
  readonly total?: number
}

/**
 * Collects the usage of one answer of the Gemini API (`usageMetadata`, November 2026). Later figures replace earlier
 * ones, even if they are smaller, because the last count is billed. Exceptions: a chunk after a tool run may count
 * only the prompt, and later chunks may omit fields. Thoughts are billed as output in addition to the candidates,
 * tool prompts as input in addition to the prompt. Cached tokens are part of the prompt.
 */
export function createGoogleUsage() {
  let latest: Counts = {}
  let merged: Counts = {}

  return {
    add(fields: ForeignRecord) {
      const counts = toCounts(fields)
      if (counts.total === undefined && sumOf(counts) === 0) return
      if (outputOf(counts) === 0 && outputOf(latest) > 0 && isConsistent(counts)) return
      latest = counts
      merged = { ...merged, ...Object.fromEntries(Object.entries(counts).filter(([, count]) => count !== undefined)) }
    },
    total(): Usage {
      // A missing field counts with its earlier value, unless the total of the last chunk adds up without it.
      const { prompt, toolPrompt = 0, cached, candidates, thoughts, total } = isConsistent(latest) ? latest : merged
      if (prompt === undefined && total === undefined) return UNKNOWN_USAGE
      const inputTokens = prompt === undefined ? undefined : prompt + toolPrompt
      const outputTokens = toOutput(inputTokens, total, candidates, thoughts)
      return {
        ...(inputTokens !== undefined && { inputTokens }),
        ...(cached !== undefined && { cachedInputTokens: cached }),
        ...(outputTokens !== undefined && { outputTokens }),
        ...(thoughts !== undefined && { reasoningTokens: thoughts }),
        ...(inputTokens !== undefined && outputTokens !== undefined && { totalTokens: inputTokens + outputTokens }),
        source: 'reported',
      }
    },
  }
}

function toOutput(
  input: number | undefined,
  total: number | undefined,
  candidates: number | undefined,
  thoughts: number | undefined,
) {
  const counted = candidates === undefined && thoughts === undefined ? undefined : (candidates ?? 0) + (thoughts ?? 0)
  const rest = input !== undefined && total !== undefined ? Math.max(0, total - input) : undefined
  return counted === undefined || (candidates === undefined && rest !== undefined) ? (rest ?? counted) : counted
}

const toCounts = (fields: ForeignRecord): Counts => ({
  prompt: countOf(fields.promptTokenCount),
  toolPrompt: countOf(fields.toolUsePromptTokenCount),
  cached: countOf(fields.cachedContentTokenCount),
  candidates: countOf(fields.candidatesTokenCount),
  thoughts: countOf(fields.thoughtsTokenCount),
  total: countOf(fields.totalTokenCount),
})

const sumOf = ({ prompt = 0, toolPrompt = 0, candidates = 0, thoughts = 0 }: Counts) =>
  prompt + toolPrompt + candidates + thoughts
const outputOf = ({ candidates = 0, thoughts = 0 }: Counts) => candidates + thoughts
const isConsistent = (counts: Counts) => counts.total !== undefined && sumOf(counts) === counts.total
