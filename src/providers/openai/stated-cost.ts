import { countOf, type ForeignRecord, isRecord, recordOf, textOf } from '../vendor/foreign-json.ts'

/**
 * xAI sends costs in ticks of 10^-10 US dollars (docs.x.ai, `cost_in_usd_ticks`, checked with recorded answers
 * 2026-11).
 */
const TICKS_PER_USD = 10_000_000_000

/**
 * Cost of the answer as stated by the vendor, in US dollars. `raw` is the usage, and `beside` a `cost` outside of the
 * usage, where some gateways put it. Undefined if there is no valid amount.
 *
 * If the user's own key pays the service behind the gateway (OpenRouter's `is_byok`), `cost` is only the gateway's fee,
 * and `cost_details` holds the cost of the service: both are paid (openrouter.ai/docs/use-cases/usage-accounting,
 * 2026-11). Otherwise `cost` includes the service.
 */
export function toStatedCostUsd(raw: unknown, beside?: unknown): number | undefined {
  const usage = recordOf(raw)
  const ticks = countOf(usage.cost_in_usd_ticks)
  if (ticks !== undefined && usage.cost === undefined) return ticks / TICKS_PER_USD
  const charge =
    amountOf(usage.cost) ??
    amountOf(usage.total_cost) ??
    amountOf(usage.cost_usd) ??
    amountOf(usage.estimated_cost) ??
    amountOf(beside)
  const upstream = toUpstreamUsd(recordOf(usage.cost_details))
  const isByok = usage.is_byok === true || usage.is_byok === 'true'
  // Without the cost of the service only the fee is known, so the total is unknown.
  if (isByok) return upstream === undefined ? undefined : (charge ?? 0) + upstream
  if (usage.is_byok === undefined && !charge && upstream) return upstream
  return charge
}

function toUpstreamUsd(details: ForeignRecord): number | undefined {
  const whole = amountOf(details.upstream_inference_cost)
  if (whole !== undefined) return whole
  const input = amountOf(details.upstream_inference_prompt_cost) ?? amountOf(details.upstream_inference_input_cost)
  const output = amountOf(details.upstream_inference_completions_cost) ?? amountOf(details.upstream_inference_output_cost)
  return input === undefined && output === undefined ? undefined : (input ?? 0) + (output ?? 0)
}

/** Field names of a total cost, the most specific first. */
const TOTALS = ['total_cost', 'total_cost_usd', 'total_usd', 'total', 'usd', 'USD', 'cost_usd', 'cost', 'amount', 'value']
/** Field names of partial costs, which are summed if there is no total. */
const PARTIAL_COSTS =
  /^(input|output|prompt|completion|completions|request|cache|cached|cache_read|cache_write|reasoning|search|tool|image|audio|citation|search_queries|input_tokens|output_tokens|reasoning_tokens|citation_tokens)(_cost|_usd|_cost_usd)?$/

/**
 * An amount in US dollars: a finite number that is not negative, possibly as text. For an object, its total or the sum
 * of its parts.
 */
function amountOf(value: unknown): number | undefined {
  if (!isRecord(value)) return countOf(value) ?? textAmountOf(value)
  const currency = textOf(value.currency)
  if (currency !== undefined && currency.toUpperCase() !== 'USD') return undefined
  for (const name of TOTALS) {
    const total = amountOf(value[name])
    if (total !== undefined) return total
  }
  let sum: number | undefined
  for (const [name, part] of Object.entries(value)) {
    if (!PARTIAL_COSTS.test(name)) continue
    const amount = amountOf(part)
    if (amount !== undefined) sum = (sum ?? 0) + amount
  }
  return sum
}

function textAmountOf(value: unknown): number | undefined {
  const text = textOf(value)
    ?.trim()
    .replace(/^\$\s*/, '')
  return text && /^\d*\.?\d+(e[-+]?\d+)?$/i.test(text) ? countOf(Number(text)) : undefined
}
