import type { Tiktoken } from 'tiktoken/lite'
import * as z from 'zod'
import { estimateTokens } from './token-estimate.ts'

/** Counts the tokens of a text for one model. */
export interface TokenCounter {
  /**
   * The number of tokens: exact up to a few for models of OpenAI (a promise while the tokenizer loads and for long
   * texts), an estimate for all others.
   */
  count(text: string, vendor: string, model: string): number | Promise<number>
  /** Frees the tokenizer. Running and later counts become estimates. */
  close(): void
}

type Encoding = 'o200k_base' | 'cl100k_base'

/**
 * Characters encoded at once: tiktoken's time grows with the square of an unbroken run (16,000 letters 120 ms, 2,000
 * letters 2 ms; Node 20.20, November 2026).
 */
const CHUNK_LENGTH = 2_000
/** Characters encoded before other work of the process may run. */
const SLICE_LENGTH = 50_000

const OPENAI_VENDORS: ReadonlySet<string> = new Set(['openai', 'azure'])

/**
 * Creates the token counter of one Polyphony instance. The tokenizer takes 140 ms and 60 MB, so it is loaded at the
 * first text that needs it.
 */
export function createTokenCounter(): TokenCounter {
  const loaded = new Map<Encoding, Tiktoken>()
  const loading = new Map<Encoding, Promise<void>>()
  let closed = false

  async function load(encoding: Encoding): Promise<void> {
    const { Tiktoken } = await import('tiktoken/lite')
    if (closed) return
    const { bpe_ranks, special_tokens, pat_str } = ranks.parse((await loadRanks[encoding]()).default)
    if (closed) return
    loaded.set(encoding, new Tiktoken(bpe_ranks, special_tokens, pat_str))
  }

  async function countSlowly(text: string, encoding: Encoding): Promise<number> {
    if (!loaded.has(encoding)) {
      const started = loading.get(encoding) ?? load(encoding)
      loading.set(encoding, started)
      await started
    }
    let tokens = 0
    let start = 0
    while (start < text.length) {
      const tokenizer = loaded.get(encoding)
      if (!tokenizer) return estimateTokens(text)
      const end = cutAt(text, start, SLICE_LENGTH)
      tokens += encodedLength(tokenizer, text, start, end)
      start = end
      if (start < text.length) await new Promise((resolve) => setImmediate(resolve))
    }
    return tokens
  }

  return {
    count(text, vendor, model) {
      if (closed || !OPENAI_VENDORS.has(vendor)) return estimateTokens(text)
      const encoding = encodingOf(model)
      const tokenizer = loaded.get(encoding)
      return tokenizer && text.length <= SLICE_LENGTH
        ? encodedLength(tokenizer, text, 0, text.length)
        : countSlowly(text, encoding)
    },
    close() {
      closed = true
      // The tokenizer lives in WebAssembly memory, which the garbage collector does not free.
      for (const tokenizer of loaded.values()) tokenizer.free()
      loaded.clear()
      loading.clear()
    },
  }
}

/**
 * Literal import paths let bundlers include only these two tables. Their types are wrong about `default`, so the shape
 * is checked.
 */
const loadRanks: Readonly<Record<Encoding, () => Promise<{ readonly default: unknown }>>> = {
  o200k_base: () => import('tiktoken/encoders/o200k_base'),
  cl100k_base: () => import('tiktoken/encoders/cl100k_base'),
}

const ranks = z.object({ bpe_ranks: z.string(), special_tokens: z.record(z.string(), z.number()), pat_str: z.string() })

/**
 * GPT-4 (not 4o, 4.1, 4.5) and GPT-3.5 are the last chat models with the older encoding; unknown models get the current
 * one.
 */
const encodingOf = (model: string): Encoding => (/^gpt-(?:3\.?5|4(?![o.\d]))/.test(model) ? 'cl100k_base' : 'o200k_base')

function encodedLength(tokenizer: Tiktoken, text: string, start: number, end: number): number {
  let tokens = 0
  for (let at = start; at < end; ) {
    const cut = Math.min(end, cutAt(text, at, CHUNK_LENGTH))
    // With empty lists, `<|endoftext|>` in a user's text is encoded as text, neither as a special token nor as an
    // error.
    tokens += tokenizer.encode(text.slice(at, cut), [], []).length
    at = cut
  }
  return tokens
}

/**
 * End of a chunk of at most `length` characters: before its last space or line break, never inside a surrogate pair.
 */
function cutAt(text: string, start: number, length: number): number {
  const limit = start + length
  if (limit >= text.length) return text.length
  for (let at = limit; at > limit - 200 && at > start; at--) {
    const code = text.charCodeAt(at)
    if (code === 32 || code === 10) return at
  }
  const insidePair = (text.charCodeAt(limit) & 0xfc00) === 0xdc00 && (text.charCodeAt(limit - 1) & 0xfc00) === 0xd800
  return insidePair ? limit - 1 : limit
}
