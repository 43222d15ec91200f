import type { ClientOptions } from '../client-options.ts'
import { inputError, networkError, PolyphonyError } from '../polyphony-error.ts'

export interface Credentials {
  /** `Bearer …`, where there is a key or token. */
  readonly authorization: () => Promise<string | undefined>
  /** The next token may be valid where the last one no longer is. */
  readonly areRenewed: boolean
}

/** What says who the caller is; a token that is a function is asked anew every time. Throws INPUT_INVALID for a key and a token. */
export function createCredentials({ apiKey, token }: Pick<ClientOptions, 'apiKey' | 'token'>): Credentials {
  if (apiKey !== undefined && token !== undefined) throw inputError('expected `apiKey` or `token`, found both')
  const authorization = async () => {
    const credential = apiKey ?? (typeof token === 'function' ? await ask(token) : token)
    if (credential === undefined) return undefined
    // Checked here, because the platform would repeat it in its message.
    if (!/^[\x21-\x7e]+$/.test(credential)) throw inputError('apiKey or token: expected ASCII text without spaces and line ends')
    return `Bearer ${credential}`
  }
  return { authorization, areRenewed: typeof token === 'function' }
}

async function ask(token: () => string | Promise<string>): Promise<string> {
  try {
    return await token()
  } catch (error) {
    // Tokens are fetched: that it failed now says nothing of the next time, unless the giver says so.
    throw PolyphonyError.is(error) ? error : networkError('The function `token` gave none', error)
  }
}
