import type { PreparedRequest } from '../call.ts'

/** Name of the account of a request: the provider's id, with the number of the key where it has several. */
export const accountOf = ({ provider, account }: Pick<PreparedRequest, 'provider' | 'account'>): string =>
  account === undefined ? provider : `${provider}#${account + 1}`
