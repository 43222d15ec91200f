import type { ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** The answer that is on its way on a connection, to an earlier request. Node says it nowhere else; its own handlers look here. */
export const findPendingAnswer = (
  stream: Duplex & { readonly _httpMessage?: ServerResponse | null },
): ServerResponse | undefined => stream._httpMessage ?? undefined
