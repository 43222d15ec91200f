import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** The response to an earlier request that a connection is still sending. Node's own handlers read the same field. */
export const findPendingAnswer = (
  stream: Duplex & { readonly _httpMessage?: ServerResponse | null },
): ServerResponse | undefined => stream._httpMessage ?? undefined
