import { MAX_HOSTED_CALLS } from '../../domain/tools/tool-fields.ts'

/** What a vendor bills for one of its tools beside the tokens. */
interface HostedToolPrice {
  /** US dollars for one call, or for all calls of a turn together. */
  readonly usd: number
  readonly per: 'call' | 'turn'
}

const FREE: HostedToolPrice = { usd: 0, per: 'turn' }
const perCall = (usd: number): HostedToolPrice => ({ usd, per: 'call' })
const perTurn = (usd: number): HostedToolPrice => ({ usd, per: 'turn' })

/**
 * Prices by vendor and tool, November 2026 (platform.claude.com/docs/en/about-claude/pricing,
 * developers.openai.com/api/docs/pricing, ai.google.dev/gemini-api/docs/pricing). Only tools whose cost in one turn has
 * a bound: Polyphony can limit the calls of Anthropic and of the Responses API, and not the queries of Gemini 3 or the
 * hours of a container.
 */
const PRICES: Readonly<Record<string, (model: string) => Readonly<Record<string, HostedToolPrice>>>> = {
  anthropic: () => ({ web_search: perCall(0.01), web_fetch: FREE }),
  openai: (model) => ({
    web_search: /search-(preview|api)/.test(model) ? perTurn(0.05) : perCall(0.01),
    file_search: perCall(0.0025),
    code_interpreter: perTurn(0.03),
  }),
  google: (model) => ({
    ...(/gemini-[12]/.test(model) && { web_search: perTurn(0.035) }),
    web_fetch: FREE,
    url_context: FREE,
    code_execution: FREE,
  }),
}

/**
 * The most that a vendor bills in one turn for the hosted tools of a request, in US dollars; `undefined` if that is not
 * known for one of them.
 */
export function hostedToolsUsd(vendor: string, model: string, tools: readonly string[]): number | undefined {
  const prices = Object.hasOwn(PRICES, vendor) ? PRICES[vendor]?.(model) : undefined
  let sum = 0
  for (const tool of new Set(tools.map((name) => name.split(':', 1)[0] ?? name))) {
    const price = prices && Object.hasOwn(prices, tool) ? prices[tool] : undefined
    if (!price) return undefined
    sum += price.per === 'call' ? price.usd * MAX_HOSTED_CALLS : price.usd
  }
  return sum
}
