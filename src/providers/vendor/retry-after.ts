import { countOf, listOf, recordOf, textOf } from './foreign-json.ts'

/**
 * Milliseconds that a vendor asks to wait, without an upper bound: `retry-after-ms`, `retry-after` in seconds or as an
 * HTTP date (RFC 9110, 10.2.3), Google's `RetryInfo` in the body (`"retryDelay": "34s"`, google.rpc.RetryInfo), or
 * `retry_after` in seconds in the body or its error, where gateways put the wait of a vendor.
 */
export function retryAfterMs(
  headers: { get(name: string): string | null } | undefined,
  body: unknown,
  nowMs: number,
): number | undefined {
  const milliseconds = numberOf(headers?.get('retry-after-ms'))
  if (milliseconds !== undefined) return milliseconds
  const header = headers?.get('retry-after')
  const seconds = numberOf(header)
  if (seconds !== undefined) return seconds * 1_000
  // Date.parse accepts nearly any text, even "-5". HTTP dates contain the name of a month.
  const instant = header && /[A-Za-z]{3}/.test(header) ? Date.parse(header) : Number.NaN
  if (!Number.isNaN(instant)) return Math.max(0, instant - nowMs)
  return retryDelayOf(body) ?? retryFieldOf(body)
}

function retryFieldOf(body: unknown): number | undefined {
  const outer = recordOf(body)
  const error = recordOf(outer.error)
  for (const holder of [error, recordOf(error.metadata), outer]) {
    const milliseconds = amountOf(holder.retry_after_ms)
    const seconds = amountOf(holder.retry_after) ?? amountOf(holder.retry_after_seconds)
    if (milliseconds !== undefined || seconds !== undefined) return milliseconds ?? Math.ceil((seconds ?? 0) * 1_000)
  }
  return undefined
}

const amountOf = (value: unknown): number | undefined => countOf(value) ?? numberOf(textOf(value))

function retryDelayOf(body: unknown): number | undefined {
  const outer = recordOf(Array.isArray(body) ? body[0] : body)
  for (const details of [body, outer.details, recordOf(outer.error).details]) {
    for (const detail of listOf(details)) {
      const delay = textOf(recordOf(detail).retryDelay)
      const seconds = delay === undefined ? undefined : numberOf(/^([\d.]+)s$/.exec(delay)?.[1])
      if (seconds !== undefined) return Math.ceil(seconds * 1_000)
    }
  }
  return undefined
}

function numberOf(text: string | null | undefined): number | undefined {
  if (!text?.trim()) return undefined
  const value = Number(text)
  return Number.isFinite(value) && value >= 0 ? value : undefined
}
