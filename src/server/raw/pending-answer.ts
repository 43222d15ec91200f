import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/**
 * The response to an earlier request that is not complete on this connection. Node stores it only here; its own
 * handlers read it too.
 */
export const findPendingAnswer = (
  stream: Duplex & { readonly _httpMessage?: ServerResponse | null },
): ServerResponse | undefined => stream._httpMessage ?? undefined
