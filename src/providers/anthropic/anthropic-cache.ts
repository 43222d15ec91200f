import type { ModelRequest } from '../../domain/execution/model-call.ts'
import type { Block } from './anthropic-files.ts'
import { anthropicAbilitiesOf } from './anthropic-models.ts'

/**
 * Maximum number of marks of one request (platform.claude.com/docs/en/build-with-claude/prompt-caching, November
 * 2026).
 */
const MAX_MARKS = 4
/** Few enough that a prompt at the minimum is rarely marked in vain, which costs nothing. */
const CHARACTERS_PER_TOKEN = 4

/**
 * Places the marks up to which the API caches the prompt. The caller goes through the prompt in its order: tools,
 * system, messages. Each part is first passed to `skip` and then, if the prompt may be cached up to its end, to
 * `offer`.
 */
export interface CacheMarks {
  /** Whether the prompt so far, with this many characters more, is long enough to be cached. */
  readonly wants: (characters: number) => boolean
  /** Counts a part of the prompt. */
  skip(characters: number): void
  /** Offers the block that ends at this place. */
  offer(block: Block | undefined): void
  /** Marks the offered blocks, at most four: the first one, and the last ones. */
  set(): void
}

/** For requests without caching. */
const NO_MARKS: CacheMarks = { wants: () => false, skip: () => undefined, offer: () => undefined, set: () => undefined }

/**
 * With `auto`, a block is marked if the prompt up to it reaches the minimum of the model: shorter prompts are not
 * cached anyway. A longer lifetime costs more to write, so it is only asked for where the step says so.
 */
export function createCacheMarks({ model, settings }: ModelRequest): CacheMarks {
  const { cache = 'auto' } = settings
  const { minCachedTokens } = anthropicAbilitiesOf(model)
  if (cache === 'off' || (cache === 'auto' && minCachedTokens === Number.POSITIVE_INFINITY)) return NO_MARKS
  const minLength = cache === 'auto' ? minCachedTokens * CHARACTERS_PER_TOKEN : 1
  const mark = { type: 'ephemeral', ...(cache !== 'auto' && cache.ttl === '1h' && { ttl: cache.ttl }) }
  const offered: Block[] = []
  let length = 0
  return {
    wants: (characters) => length + characters >= minLength,
    skip(characters) {
      length += characters
    },
    offer(block) {
      if (block && length >= minLength) offered.push(block)
    },
    set() {
      const [first, ...others] = offered
      for (const block of [first, ...others.slice(1 - MAX_MARKS)]) if (block) block.cache_control = mark
    },
  }
}
