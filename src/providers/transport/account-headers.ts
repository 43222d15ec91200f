import { findHeaderProblem } from '../../config/header-value.ts'
import { withToken } from '../../config/operations/operation-secrets.ts'
import { OrchestratorError } from '../../errors/orchestrator-error.ts'
import { MIN_SECRET } from '../adapter-settings.ts'
import { isRecord } from '../vendor/foreign-json.ts'

/** Returns the headers of an account. Called once per request. */
export type HeadersSource = () => Promise<readonly (readonly [name: string, value: string])[]>

/**
 * Number of header values of earlier requests that are still redacted, because vendors may quote them late. Limited,
 * because tokens are renewed.
 */
const MAX_REMEMBERED = 64

/**
 * Wraps the headers function of an account and adds the values it returns to `secrets`. Rejects with
 * PROVIDER_UNAVAILABLE if the function fails, and with CONFIG_INVALID if it returns no headers or a value that cannot
 * be sent. No message holds a value.
 */
export function createHeadersSource(id: string, headers: () => unknown, secrets: string[]): HeadersSource {
  const fixed = secrets.length
  return async () => {
    const found = await callFor(id, headers)
    if (!isRecord(found)) throw invalid(id, `expected an object of names and values, found ${describe(found)}`)
    return Object.entries(found).flatMap(([name, value]) => {
      if (value === undefined || value === null) return []
      const problem = typeof value === 'string' ? findHeaderProblem(name, value) : 'expected text'
      if (problem || typeof value !== 'string') throw invalid(id, `${JSON.stringify(name.slice(0, 60))}: ${problem}`)
      const text = value.trim()
      for (const secret of withToken(text)) {
        if (secret.length >= MIN_SECRET && !secrets.includes(secret)) secrets.push(secret)
        if (secrets.length > fixed + MAX_REMEMBERED) secrets.splice(fixed, 1)
      }
      return [[name, text] as const]
    })
  }
}

async function callFor(id: string, headers: () => unknown): Promise<unknown> {
  try {
    return await headers()
  } catch (error) {
    // The message of the error may quote a token.
    const name = error instanceof Error ? error.name : typeof error
    throw new OrchestratorError('PROVIDER_UNAVAILABLE', `The function given as providers.${id}.headers failed (${name})`, {
      details: { provider: id, key: `providers.${id}.headers` },
    })
  }
}

const invalid = (id: string, problem: string) =>
  new OrchestratorError(
    'CONFIG_INVALID',
    `The function given as providers.${id}.headers returned headers that cannot be sent: ${problem}`,
    {
      details: { provider: id, key: `providers.${id}.headers` },
    },
  )

const describe = (value: unknown): string => (value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value)
