import { type AdapterSettings, fixedHeadersOf } from '../adapter-settings.ts'

/**
 * The constant headers of an account for the SDK. A null removes a header that the SDK would set. `keyHeader`: the
 * header of the key, where it is not `authorization`.
 */
export function toClientHeaders(settings: AdapterSettings, keyHeader: string | undefined, isOpenAi: boolean) {
  const { apiKey } = settings
  const headers = fixedHeadersOf(settings)
  const removed = isOpenAi ? {} : withoutCustomHeaders()
  if (apiKey === undefined || keyHeader)
    return { ...removed, Authorization: null, ...(apiKey && keyHeader && { [keyHeader]: apiKey }), ...headers }
  // The SDK sets this header itself, unless OPENAI_CUSTOM_HEADERS named it and it was removed.
  const authorization = Object.keys(removed).some((name) => name.toLowerCase() === 'authorization') && {
    Authorization: `Bearer ${apiKey}`,
  }
  return { ...removed, ...authorization, ...headers }
}

/** The SDK adds the headers of OPENAI_CUSTOM_HEADERS, which may hold secrets, to every request. A null removes them. */
function withoutCustomHeaders(): Record<string, null> {
  const names = (process.env.OPENAI_CUSTOM_HEADERS ?? '').split('\n').map((line) => line.slice(0, line.indexOf(':')).trim())
  return Object.fromEntries(names.filter((name) => name !== '').map((name) => [name, null]))
}
