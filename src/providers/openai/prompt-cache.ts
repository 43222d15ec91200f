import { type ModelRequest, type ModelSettings, stableEndsOf } from '../../domain/execution/model-call.ts'
import type { RequestNotes } from '../vendor/request-notes.ts'

export interface CacheFieldsContext {
  /** Whether the service takes a `prompt_cache_key`. */
  readonly takesKeys?: boolean
  /** Whether the service takes marks in the content instead, which are set there. */
  readonly marks?: boolean
  /** Configured name of `prompt_cache_key`. */
  readonly field?: string | false
  readonly notes: RequestNotes
}

/** OpenAI rejects longer keys. */
const MAX_KEY_LENGTH = 64
/** Models that can keep a cached prompt for a day (developers.openai.com/api/docs/guides/prompt-caching, 2026-11). */
const KEEPS_LONGER = /(^|\/|\.)gpt-(4\.1|[5-9])/

/**
 * Adds the routing key for cached prompts and the time for which they are kept. OpenAI caches by itself, so the key
 * only raises the chance that a request reaches a machine that holds its beginning.
 */
export function addCacheFields(
  body: Record<string, unknown>,
  { cacheKey, model, system, messages }: ModelRequest,
  { cache }: ModelSettings,
  { takesKeys, marks, field, notes }: CacheFieldsContext,
): void {
  if (marks) {
    const hasMark = system !== undefined || messages.some((message) => stableEndsOf(message).length > 0)
    if (typeof cache === 'object' && !hasMark) notes.add('cache was not sent: the request has no stable beginning')
    return
  }
  if (cache === 'off') {
    notes.add('cache "off" was not sent: the provider caches prompts by itself')
    return
  }
  if (takesKeys || typeof field === 'string') {
    if (cacheKey !== undefined) body[field || 'prompt_cache_key'] = cacheKey.slice(0, MAX_KEY_LENGTH)
  } else if (cache !== undefined && cache !== 'auto') {
    notes.leaveOut('cache', 'the provider has no setting for it')
    return
  }
  if (typeof cache !== 'object') return
  if (cache.ttl === '5m') notes.add('cache.ttl "5m" was not sent: the provider keeps prompts at least that long')
  else if (KEEPS_LONGER.test(model)) {
    body.prompt_cache_retention = '24h'
    notes.add('cache.ttl "1h" was sent as "24h": the provider keeps prompts for minutes or for a day')
  } else notes.leaveOut('cache.ttl', `${model} keeps prompts only for minutes`)
}
