import type { ClientOptions } from '../client-options.ts'
import { inputError, networkError, PolyphonyError } from '../polyphony-error.ts'

/** Authorization of requests. */
export interface Credentials {
  /** Resolves with `Bearer …`, or with `undefined` without key and token. */
  readonly authorization: () => Promise<string | undefined>
  /** Whether a later call may return another token, so that a rejected token is worth another connection. */
  readonly areRenewed: boolean
}

/**
 * Reads the credentials from the options; a token function is called for every request. Throws INPUT_INVALID for both
 * key and token.
 */
export function createCredentials({ apiKey, token }: Pick<ClientOptions, 'apiKey' | 'token'>): Credentials {
  if (apiKey !== undefined && token !== undefined) throw inputError('expected `apiKey` or `token`, found both')
  const authorization = async () => {
    const credential = apiKey ?? (typeof token === 'function' ? await callToken(token) : token)
    if (credential === undefined) return undefined
    // Checked here, because `Headers` would repeat the credential in its error message.
    if (!/^[\x21-\x7e]+$/.test(credential)) throw inputError('apiKey or token: expected ASCII text without spaces or line breaks')
    return `Bearer ${credential}`
  }
  return { authorization, areRenewed: typeof token === 'function' }
}

async function callToken(token: () => string | Promise<string>): Promise<string> {
  try {
    return await token()
  } catch (error) {
    // Functions fetch tokens over the network, so a failure counts as retryable unless they throw a PolyphonyError.
    throw PolyphonyError.is(error) ? error : networkError('The function `token` failed', error)
  }
}
