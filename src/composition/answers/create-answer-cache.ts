import type { AnswerCacheDeps, AnswerStore, KeptAnswer } from '../../calls/answers/answer-cache.ts'
import type { PolyphonyConfig } from '../../config/config.ts'
import { readVersion } from '../../config/version.ts'

/** The kept answers of this process. The cache is loaded at its first use. */
export function createAnswerCache(
  { answerCache: { maxEntries, maxBytes, ttlMs } }: Pick<PolyphonyConfig, 'answerCache'>,
  originOf: AnswerCacheDeps['originOf'],
): AnswerCacheDeps {
  let opening: Promise<AnswerStore> | undefined
  const load = async (): Promise<AnswerStore> => {
    const { createCache } = await import('../../caches/create-cache.ts')
    return createCache<KeptAnswer>({ policy: 'lru', maxEntries, maxBytes, ttlMs })
  }
  const open = () => {
    opening ??= load()
    return opening
  }
  let version: string | undefined
  const versionOf = () => {
    version ??= readVersion()
    return version
  }
  return { open, ttlMs, originOf, versionOf }
}
