/** Model names by the day, in UTC, from which requests fail. */
type Shutdowns = Readonly<Record<string, readonly string[]>>

/**
 * Models that their vendors have shut down or will shut down on an announced day. Dated and `latest` variants of a
 * listed name count as listed. Collected in November 2026. Some dates come from secondary descriptions and still need
 * checking against the vendors' lists: https://platform.claude.com/docs/en/about-claude/model-deprecations,
 * https://developers.openai.com/api/docs/deprecations, https://ai.google.dev/gemini-api/docs/deprecations
 */
const SHUTDOWNS: Readonly<Record<string, Shutdowns>> = {
  anthropic: {
    '2024-11-06': ['claude-1.0', 'claude-1.1', 'claude-1.2', 'claude-1.3'],
    '2025-07-21': ['claude-2.0', 'claude-2.1', 'claude-3-sonnet'],
    '2025-10-28': ['claude-3-5-sonnet'],
    '2026-01-05': ['claude-3-opus'],
    '2026-02-19': ['claude-3-7-sonnet', 'claude-3-5-haiku'],
    '2026-06-15': ['claude-sonnet-4', 'claude-sonnet-4-0', 'claude-opus-4', 'claude-opus-4-0'],
    '2026-08-05': ['claude-opus-4-1'],
  },
  openai: {
    '2025-07-14': ['gpt-4.5-preview'],
    '2026-01-16': ['codex-mini-latest'],
    '2026-02-17': ['chatgpt-4o-latest'],
    '2026-07-23': [
      'computer-use-preview',
      'gpt-4o-audio-preview-2024-12-17',
      'gpt-4o-mini-audio-preview-2024-12-17',
      'gpt-4o-mini-search-preview-2025-03-11',
      'gpt-4o-search-preview-2025-03-11',
      'gpt-5-chat-latest',
      'gpt-5-codex',
      'gpt-5.1-chat-latest',
      'gpt-5.1-codex',
      'gpt-5.1-codex-max',
      'gpt-5.1-codex-mini',
      'gpt-5.2-codex',
      'o3-deep-research',
      'o4-mini-deep-research',
    ],
    '2026-08-10': ['gpt-5.2-chat-latest', 'gpt-5.3-chat-latest'],
    '2026-10-23': [
      'gpt-3.5-turbo',
      'gpt-3.5-turbo-0125',
      'gpt-4',
      'gpt-4-0613',
      'gpt-4-1106-preview',
      'gpt-4-turbo',
      'gpt-4.1-nano',
      'gpt-4o-2024-05-13',
      'o1',
      'o1-pro',
      'o3-mini',
      'o4-mini',
    ],
    '2026-12-11': ['gpt-5', 'gpt-5-mini', 'gpt-5-nano', 'gpt-5-pro', 'o3', 'o3-pro'],
    '2027-01-14': ['gpt-4.1', 'gpt-4.1-mini', 'gpt-4o', 'gpt-4o-mini'],
    '2027-04-01': ['gpt-5.1'],
  },
  google: {
    '2025-12-02': ['gemini-2.5-pro-preview-03-25', 'gemini-2.5-pro-preview-05-06', 'gemini-2.5-pro-preview-06-05'],
    '2026-03-09': ['gemini-3-pro-preview'],
    '2026-05-25': ['gemini-3.1-flash-lite-preview'],
    '2026-06-01': ['gemini-2.0-flash', 'gemini-2.0-flash-001', 'gemini-2.0-flash-lite', 'gemini-2.0-flash-lite-001'],
    '2026-12-01': ['gemini-2.5-pro', 'gemini-2.5-flash'],
  },
}

/** Day of the shutdown, such as `2026-10-23`, of the first listed name. Undefined if none is announced. */
export function findShutdown(vendor: string, names: readonly string[]): string | undefined {
  const entries = Object.hasOwn(SHUTDOWNS, vendor) ? Object.entries(SHUTDOWNS[vendor] ?? {}) : []
  for (const name of names) {
    const found = entries.find(([, models]) => models.includes(name))
    if (found) return found[0]
  }
  return undefined
}
